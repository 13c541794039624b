"""One graph for a whole run, and a network that does not compile runs as it is. The backend here only counts."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import forked
from helpers.networks import SmallNetwork
from helpers.tiny_models import write_pixels
from torch import Tensor, nn

import fcs
from fcs.core import compiled
from fcs.core.collate import collate
from fcs.core.denoiser import Denoiser, dense
from fcs.core.directions import Direction, Gradient, Newton
from fcs.core.levels import Level
from fcs.core.records import Batch, Record
from fcs.models import Model, find, load
from fcs.samplers import InexactNewton as NewtonSampler
from fcs.shards.input.whole_tar import members_by_key
from fcs.tasks import Inpaint
from fcs.tasks.half_precision import float32
from fcs.tasks.pipeline import Pipeline
from fcs.tools.cli.predict import main

Shapes = list[tuple[int, ...]]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shapes]:
    """Shape of the largest input of each graph that is made."""
    made: Shapes = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Tensor]:
        made.append(max((tuple(one.shape) for one in inputs if one.ndim == 4 and not one.requires_grad), key=len))
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "BACKEND", backend)
    with torch._dynamo.config.patch(recompile_limit=8):  # torch's own, whatever tests before have set
        yield made
    torch._dynamo.reset()


class Plain(nn.Module):
    """A network that has nothing to load."""

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        return x * 2 + t.view(-1, 1, 1, 1)


def batch(model: Model, count: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (count, *model.picture_shape), generator=generator, dtype=torch.uint8)
    mask = torch.zeros(1, *model.picture_shape[1:], dtype=torch.uint8)
    mask[..., mask.shape[-1] // 2 :] = 255
    records = [Record(i, str(i), picture, mask) for i, picture in enumerate(pictures)]
    return collate("s", 0, records, model.picture_shape, 0)


def solver(model: Model, direction: Direction | None = None, guidance: float = 1.0, stop: float = 1.0) -> Pipeline:
    sampler = NewtonSampler(direction or Newton(), [0.5, 0.1])
    return Pipeline(model, Inpaint(), sampler, 4, guidance=guidance, guidance_stop=stop)


def test_one_graph_for_all_levels(tiny_sd: Path, graphs: Shapes) -> None:
    model = load(find(str(tiny_sd)))
    solvers = [solver(model, guidance=guidance, stop=stop) for guidance, stop in ((1.0, 1.0), (2.0, 1.0), (2.0, 0.5))]
    expected = [solve(batch(model, 3)) for solve in solvers]
    model.compile_network()
    slots = ([3], [3, 6], [3, 6])  # of one branch, of both, and of one again where guidance has stopped
    for solve, plain, made in zip(solvers, expected, slots, strict=True):
        assert torch.equal(solve(batch(model, 3)).images, plain.images)
        assert [shape[0] for shape in graphs] == made
    assert torch.equal(solvers[0](batch(model, 3)).images, expected[0].images)
    assert len(graphs) == 2  # the same run again is the same graph


def test_one_graph_with_gradients(tiny_sd: Path, graphs: Shapes) -> None:
    model = load(find(str(tiny_sd)))
    model.compile_network()
    solver(model, Gradient())(batch(model, 2))
    assert len(graphs) == 1


@dataclass(frozen=True)
class Eager:
    """A run as it is, whose last batch is padded."""

    settings: list[str]
    pictures: dict[str, bytes]


def pictures(out: Path) -> dict[str, bytes]:
    return {key: sample["png"] for key, sample in members_by_key(out / "shards" / "mixed.tar").items()}


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Eager:
    folder = tmp_path_factory.mktemp("eager")
    settings = ["--config", "digits_inpaint", f"model.name={write_pixels(folder / 'pixels')}", "steps=2"]
    settings += ["data.batch_size=8", "data.limit=12", "data.workers=0", "previews.max=0"]
    assert main([*settings, f"out={folder}/o"]) == 0
    return Eager(settings, pictures(folder / "o"))


def test_one_graph_for_a_run_whose_last_batch_is_padded(graphs: Shapes, eager: Eager, tmp_path: Path) -> None:
    """The backend takes no options, so that none is what it is given."""
    assert main([*eager.settings, f"out={tmp_path}/o", "trainer.compile=true"]) == 0
    assert graphs == [(8, 1, 16, 16)]
    assert len(eager.pictures) == 12
    assert pictures(tmp_path / "o") == eager.pictures


def test_another_arithmetic_is_another_network(graphs: Shapes) -> None:
    denoise = Denoiser(SmallNetwork(1, 0), "eps", torch.bfloat16)
    level, x = Level(500.0, 0.6, 0.8), torch.ones(2, 1, 8, 8)
    denoise.compile_network()
    with torch.no_grad():
        rounded = denoise(x, level)
        with float32():
            exact = denoise(x, level)
    assert not torch.equal(rounded, exact)
    assert len(graphs) == 1


def test_each_shape_is_compiled_up_to_a_limit_and_then_none(
    graphs: Shapes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """torch alone gives up at the ninth shape, with an exception that is none of its compiler's."""
    monkeypatch.setattr(compiled, "SHAPES", 11)
    network = Plain()
    graph = compiled.Compiled(network)
    limits = torch._dynamo.config
    assert limits.recompile_limit == 11  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "fcs"):
        for count in range(1, 15):
            x = torch.randn(count, 1, 4, 4)
            assert torch.equal(graph(x, torch.zeros(count), None), network(x, torch.zeros(count), None))
    assert len(graphs) == 11
    said = [record.message for record in caplog.records if record.name == "fcs"]
    assert len(said) == 2
    assert said[0].startswith("compiling the network")
    assert said[1].startswith("the network does not compile")


def test_cuda_graphs_are_asked_for(eager: Eager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler is told, and that nothing of one output is used after the next call."""
    told: list[object] = []
    last: list[Tensor] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor], **options: object) -> Callable[..., object]:
        told.append(options.get("options"))

        def replayed(*given: Tensor) -> object:
            for out in last:
                out.fill_(torch.nan)  # as the next replay of a graph does with the memory of the last
            made = graph.forward(*given)
            last[:] = [one.detach() for one in made]
            return made

        return replayed

    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "BACKEND", backend)
    graphs = ["trainer.cuda_graphs=true", "trainer.compile=true"]
    assert main([*eager.settings, *graphs, f"out={tmp_path}/graphs"]) == 0
    torch._dynamo.reset()
    assert told == [{"triton.cudagraphs": True}]
    assert pictures(tmp_path / "graphs") == eager.pictures


@pytest.mark.parametrize("size", [(2, 1, 4, 4), (1, 3, 4, 4), (2, 3, 4, 4)])
def test_one_memory_layout(size: tuple[int, ...]) -> None:
    x = torch.randn(size)
    for given in (x, x.to(memory_format=torch.channels_last), x.flip(2), x.transpose(2, 3)):
        taken = dense(given)
        assert torch.equal(taken, given)
        assert taken.stride() == torch.empty(size).stride()


def test_without_a_compiler_it_runs_as_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Tensor]:
        raise OSError("no C++ compiler")

    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "BACKEND", broken)
    network, given = Plain(), (torch.ones(2, 1, 16, 16), torch.ones(2), None)
    run = compiled.Compiled(network)
    with torch.no_grad(), caplog.at_level(logging.WARNING, "fcs"):
        assert torch.equal(run(*given), network(*given))
        assert torch.equal(run(*given), network(*given))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "compiling" in caplog.records[0].getMessage()
    assert "no C++ compiler" in caplog.records[1].getMessage()
    assert "\n" not in caplog.records[1].getMessage()
    torch._dynamo.reset()


COMPILES = """
import sys
import torch
from torch import nn
from fcs.core.compiled import Compiled

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Linear(8, 8)
    def forward(self, x, t, cond):
        return torch.tanh(self.mix(x)) * t[:, None]

network, x, t = Network(), torch.ones(2, 8), torch.full((2,), 3.0)
with torch.no_grad():
    made = Compiled(network)
    torch.testing.assert_close(made(x, t, None), network(x, t, None))
assert made.works
"""


@pytest.mark.slow
def test_processes_share_a_folder_of_kernels_at_once(tmp_path: Path) -> None:
    """Array tasks on a node start together, with nothing there yet; who comes later finds it."""
    places = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "TRITON_CACHE_DIR": str(tmp_path / "triton")}
    command, environment = [sys.executable, "-c", COMPILES], {**os.environ, **places}

    def kernels() -> set[Path]:
        return {path for path in tmp_path.rglob("*.cpp") if "precompiled" not in str(path)}

    together = [forked.Popen(command, env=environment) for _ in range(2)]
    assert [process.wait() for process in together] == [0, 0]
    made = kernels()
    assert made
    assert forked.run(command, env=environment).returncode == 0
    assert kernels() == made


def test_short_memory_while_compiling_is_no_failure_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "BACKEND", short)
    run = compiled.Compiled(Plain())
    with torch.no_grad(), pytest.raises(RuntimeError, match="out of memory"):
        run(torch.ones(2, 1, 16, 16), torch.ones(2), None)
    assert run.works
    torch._dynamo.reset()


def test_python_calls_compile_too(tiny_sd: Path, graphs: Shapes) -> None:
    """In 16 bits as well; pieces of one size are one graph, and the copies of weights are in it."""
    plain, model = (fcs.load(str(tiny_sd), device="cpu", precision="bf16", compile=one) for one in (False, True))
    image, mask = np.full((64, 64, 3), 99, np.uint8), np.full((64, 64), 255, np.uint8)
    made = [
        fcs.inpaint(one, [image] * 3, mask, seed=0, steps=1, sampler=NewtonSampler(Newton(0.25), [0.5]), progress=False)
        for one in (plain, model, model)
    ]
    assert len(graphs) == 1
    for one in made[1:]:
        apart = [np.asarray(a).astype(int) - np.asarray(b) for a, b in zip(one.images, made[0].images, strict=True)]
        assert max(abs(off).max() for off in apart) <= 1


def test_what_is_in_memory_is_not_compiled_for_its_owner() -> None:
    with pytest.raises(ValueError, match="compile=True: expected nothing beside a pipeline in memory"):
        fcs.load(object(), compile=True)  # type: ignore[arg-type]
