"""16 bits: differences that stand clear of their rounding; what they make NaN of is sampled again in float32."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.batches import half_masked, one_step
from helpers.networks import SmallNetwork
from torch import Tensor, nn

import fcs
from fcs.core.autocast import halve, no_autocast
from fcs.core.denoiser import Denoiser
from fcs.core.directions import Newton
from fcs.core.levels import Level
from fcs.core.operators import Downsample
from fcs.core.per_sample import RecordNoise
from fcs.core.records import Result
from fcs.core.tf32 import allow_tf32, tf32
from fcs.engine.config import load_config
from fcs.engine.oom_retry import joined
from fcs.engine.pipeline_loading import measured as measured_in
from fcs.engine.trainer import takes_tf32
from fcs.models import Model, find, load
from fcs.samplers import DDIM, InexactNewton
from fcs.shards.store.local import LocalStore
from fcs.tasks import Inpaint
from fcs.tasks.half_precision import float32, lengths, merged, rounds
from fcs.tasks.pipeline import Pipeline
from fcs.tasks.restore import EncodedMeasured
from fcs.tools.cli.predict import main

CPU = torch.device("cpu")


class Overflowing(nn.Module):
    """A network that gives NaN for the second row, in 16 bits alone or always."""

    def __init__(self, network: nn.Module, always: bool = False) -> None:
        super().__init__()
        self.network, self.always = network, always

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        out = self.network(x, t, cond).float()
        if self.always or torch.is_autocast_enabled("cpu"):
            out[1] = torch.nan
        return out


@pytest.fixture
def model(digits: Model) -> Iterator[Model]:
    """The digits' own, in bf16; what a test puts into it is taken out again."""
    network, digits.denoiser.autocast = digits.denoiser.network, torch.bfloat16
    yield digits
    digits.denoiser.network, digits.denoiser.autocast = network, None


def made(model: Model) -> Result:
    return one_step(model, Inpaint())(half_masked(3))


def test_a_row_that_overflows_is_sampled_again_in_float32(model: Model) -> None:
    sixteen = made(model)
    with float32():
        exact = made(model)
    model.denoiser.network = Overflowing(model.denoiser.network)
    mixed = made(model)
    assert mixed.redone == (1,)
    assert mixed.finite == (True, True, True)
    assert torch.equal(mixed.images[1], exact.images[1])
    assert torch.equal(mixed.images[[0, 2]], sixteen.images[[0, 2]])
    assert mixed.residuals == (sixteen.residuals[0], exact.residuals[1], sixteen.residuals[2])
    assert not torch.equal(sixteen.images[1], exact.images[1])


def test_what_float32_cannot_hold_either_stays_lost(model: Model) -> None:
    model.denoiser.network = Overflowing(model.denoiser.network, always=True)
    mixed = made(model)
    assert (mixed.finite, mixed.redone) == ((True, False, True), (1,))
    model.denoiser.autocast = None
    assert made(model).redone == ()


def test_a_mended_result_has_every_field_of_the_right_slot(model: Model) -> None:
    def every(value: int) -> Result:
        picture, each = torch.full((2, 1, 4, 4), value, dtype=torch.uint8), (value,) * 2
        scores = ({"a": float(value)},) * 2
        errors, courses = {0: f"e{value}", 1: f"e{value}"}, ((float(value),),) * 2
        return Result(picture, each, each, (True,) * 2, 1.0, {"more": picture}, scores, errors, courses)

    mixed = merged(every(1), every(2), [1])
    for name in ("images", "residuals", "calls", "scores", "residual_traces"):
        first, second = getattr(mixed, name)
        assert (str(first), str(second)) == (str(getattr(every(1), name)[0]), str(getattr(every(2), name)[1])), name
    assert torch.equal(mixed.further["more"][:, 0, 0, 0], torch.tensor([1, 2], dtype=torch.uint8))
    assert mixed.errors == {0: "e1", 1: "e2"}
    checked = {"images", "residuals", "calls", "scores", "residual_traces", "further", "errors"}
    assert {field.name for field in fields(Result)} == checked | {"finite", "seconds", "memory", "redone", "truncated"}


def test_joined_parts_say_which_were_sampled_again(model: Model) -> None:
    model.denoiser.network = Overflowing(model.denoiser.network)
    one, two = (one_step(model, Inpaint())(half_masked(4).part(first, first + 2)) for first in (0, 2))
    assert joined(one, two).redone == (1, 3)


# The difference in 16 bits


def test_a_fixed_difference_is_not_measured(model: Model) -> None:
    assert not Pipeline(model, Inpaint(), InexactNewton(Newton(0.5))).unmeasured
    auto = Pipeline(model, Inpaint(), InexactNewton(Newton("auto")))
    assert auto.unmeasured
    assert not Pipeline(model, Inpaint(), DDIM()).unmeasured
    with float32():
        assert not auto.unmeasured
    assert not auto.measured({999.0: 0.1}).unmeasured
    assert auto.sampler.direction.lengths == {}  # the original stays as it is


def test_what_is_measured_stands_clear_of_rounding(model: Model) -> None:
    levels = model.schedule.levels(3)
    found = lengths(model, levels)
    assert list(found) == [level.t for level in levels[:-1]]
    assert all(math.log2(length).is_integer() for length in found.values())
    assert lengths(model, levels[-2:]) == lengths(model, levels[-2:])
    direction, fixed = Newton("auto"), Newton(0.005)
    direction = direction.with_lengths(found)
    randn = RecordNoise([5, 6, 7, 8], model.device)
    known = torch.zeros(1, 16, 16)
    known[..., :8] = 1
    denoise = model.guided([""] * 4)
    for level in levels[1:-1]:
        x = level.sigma * randn(model.shape)
        with torch.no_grad(), float32():
            x0 = denoise(x, level)
            e = known * (x0.roll(1, 0) - x0)
        cosines = []
        for one in (direction, fixed):
            with torch.no_grad():
                sixteen = one.linearize(lambda x, level=level: denoise(x, level), x, level)[1](e)
                with float32():
                    exact = one.linearize(lambda x, level=level: denoise(x, level), x, level)[1](e)
            cosines.append(torch.nn.functional.cosine_similarity(sixteen.flatten(1), exact.flatten(1)).mean().item())
        assert cosines[0] > 0.9, (level.t, cosines)
        assert cosines[0] > cosines[1] + 0.1


def test_the_first_process_measures_and_the_others_read(tmp_path: Path, digits_shard: Path) -> None:
    settings = [f"data.shards={digits_shard}", f"out={tmp_path}/out", "steps=2", "previews.max=0", "data.limit=2"]
    settings += ["data.batch_size=2", "trainer.precision=bf16", "sampler.difference=auto"]
    assert main(["--config", "digits_inpaint", *settings]) == 0
    measured = json.loads((tmp_path / "out" / "difference.json").read_text())
    assert set(measured) == {"999.0", "499.0"}
    first = (tmp_path / "out" / "shards" / f"{digits_shard.stem}.tar").read_bytes()
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "difference.json").write_text(json.dumps(dict.fromkeys(measured, 2.0**-10)))
    assert main(["--config", "digits_inpaint", *settings]) == 0
    assert (tmp_path / "out" / "shards" / f"{digits_shard.stem}.tar").read_bytes() != first


def test_lengths_are_measured_where_the_run_computes(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def lengths(solver: Pipeline) -> dict[float, float]:
        seen.append(solver.model.device.type)
        return {999.0: 0.125}

    monkeypatch.setattr(Pipeline, "lengths", lengths)
    own = load(find("digits-16"), torch.bfloat16)
    solver = Pipeline(own, Inpaint(), InexactNewton(Newton("auto")))
    measured = measured_in(LocalStore(tmp_path), solver, torch.device("meta"))
    assert seen == ["meta"]
    assert measured.sampler.direction.lengths == {999.0: 0.125}


def test_float32_takes_the_lengths_that_it_finds_and_measures_none(model: Model, tmp_path: Path) -> None:
    solver, out = Pipeline(model, Inpaint(), InexactNewton(Newton("auto"))), LocalStore(tmp_path)
    with float32():
        assert measured_in(out, solver, CPU).sampler.direction.lengths == {}
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "difference.json").write_text(json.dumps({"999.0": 0.25}))
        assert measured_in(out, solver, CPU).sampler.direction.lengths == {999.0: 0.25}
        fixed = Pipeline(model, Inpaint(), InexactNewton(Newton(0.005)))
        assert measured_in(out, fixed, CPU) is fixed


def test_float32_takes_a_sixteenth_and_a_sparse_error_is_not_thrown_far() -> None:
    seen: list[Tensor] = []
    x, e = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    e[1] = 0
    e[1, 0, 0, 0] = 3
    direction, level = Newton("auto"), Level(500.0, 0.6, 0.8)
    for found in ({}, {500.0: 0.25}):
        direction = direction.with_lengths(found)
        seen.clear()
        direction.linearize(lambda x: seen.append(x) or x, x, level)[1](e)
        assert seen[1].abs().amax((1, 2, 3)).tolist() == [0.25 if found else 0.0625, 0.5 if found else 0.0625]


class Grained(nn.Module):
    """A network whose 16 bits are float32 with a grain of a size: what autocast would round stays exact."""

    def __init__(self, network: nn.Module, size: float) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        rounded = torch.is_autocast_enabled("cpu")
        with torch.autocast("cpu", enabled=False):
            out = self.network(x, t, cond)
        return out + self.size * torch.sin(1e6 * x) if rounded else out


def test_lengths_grow_with_the_root_of_the_rounding(model: Model) -> None:
    network, levels = model.denoiser.network, model.schedule.levels(4)
    found = []
    for size in (1e-4, 1.6e-3):
        model.denoiser.network = Grained(network, size)
        found.append(lengths(model, levels))
    grown = [found[1][t] / found[0][t] for t in found[0]]
    assert sorted(grown)[len(grown) // 2] == 4  # the median: lengths are powers of two
    assert all(2 <= factor <= 8 for factor in grown)


def test_lengths_are_measured_with_the_guidance_of_the_run(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, rows = load(find(str(tiny_sd)), torch.bfloat16), []
    forward = Denoiser.forward

    def noting(denoiser: Denoiser, x: Tensor, level: Level, cond: Tensor, *more: object) -> Tensor:
        rows.append(len(x) if torch.equal(cond[0], cond[-1]) else -len(x))
        return forward(denoiser, x, level, cond, *more)

    monkeypatch.setattr(Denoiser, "forward", noting)
    for scale, seen in ((1.0, 4), (2.0, -8)):  # two branches, with a prompt and without
        rows.clear()
        Pipeline(own, Inpaint(), InexactNewton(Newton("auto")), 2, guidance=scale).lengths()
        assert set(rows) == {seen}


def test_the_lengths_of_what_overflows_are_the_longest(model: Model) -> None:
    model.denoiser.network = Grained(model.denoiser.network, math.nan)
    assert set(lengths(model, model.schedule.levels(2)).values()) == {0.5}


# Ten mantissa bits on a GPU


@pytest.fixture
def flags() -> Iterator[None]:
    """What torch is told of TF32, put back."""
    with tf32(torch.backends.cudnn.allow_tf32):
        yield


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ([], False),
        (["trainer.precision=bf16"], False),
        (["trainer.precision=bf16", "trainer.tf32=true"], True),
        (["trainer.tf32=true"], True),
        (["trainer.tf32=true", "metrics.features=[random]"], False),
        (["trainer.tf32=true", "task=superres", "task.error=vae_newton"], True),
    ],
)
def test_the_network_takes_tf32_by_leave_only(settings: list[str], allowed: bool) -> None:
    run, _ = load_config.load(["digits_inpaint"], settings)
    assert takes_tf32(run) == allowed


def told(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[tuple[bool, bool]]:
    """Whether TF32 was allowed in convolutions and products at each call of a method."""
    seen: list[tuple[bool, bool]] = []
    method = getattr(owner, name)

    def noting(*given: object) -> object:
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return method(*given)

    monkeypatch.setattr(owner, name, noting)
    return seen


@pytest.mark.usefixtures("flags")
def test_a_run_computes_as_it_was_told(tmp_path: Path, digits_shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = told(monkeypatch, Denoiser, "forward")
    settings = [f"data.shards={digits_shard}", "steps=1", "previews.max=0", "data.limit=1", "data.batch_size=1"]
    settings.append("sampler.difference=auto")
    pinned = []
    for number, tensor in enumerate((False, True)):
        seen.clear()
        own = [f"out={tmp_path}/{number}", f"trainer.tf32={str(tensor).lower()}"]
        assert main(["--config", "digits_inpaint", *settings, *own]) == 0
        assert set(seen) == {(tensor, tensor)}
        pinned.append(json.loads((tmp_path / str(number) / "run.json").read_text())["fingerprint"])
    assert pinned[0] != pinned[1]  # results differ


@pytest.mark.usefixtures("flags")
def test_float32_is_all_of_it(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_tf32(True)
    assert rounds(model)
    with float32():
        assert not rounds(model)
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32
    seen = told(monkeypatch, Denoiser, "forward")
    fcs.inpaint(model, np.zeros((16, 16), np.uint8), np.ones((16, 16), bool), steps=1)
    assert set(seen) == {(False, False)}


def test_vae_newton_takes_its_difference_outside_of_autocast(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = load(find(str(tiny_sd)), torch.bfloat16)
    target = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
    constraint = EncodedMeasured(target, Downsample(4), own.decode, own.encode, 0.05)
    x0 = RecordNoise([1, 2], "cpu")(own.shape)
    seen: list[tuple[torch.dtype, bool]] = []
    encode = own.vae.encode
    monkeypatch.setattr(
        own.vae, "encode", lambda x: seen.append((x.dtype, torch.is_autocast_enabled("cpu"))) or encode(x)
    )
    with torch.no_grad():
        sixteen = constraint.error(x0)
        assert set(seen) == {(torch.float32, False)}
        own.double()
        wide = EncodedMeasured(target.double(), Downsample(4), own.decode, own.encode, 0.05).error(x0.double())
    cosines = torch.nn.functional.cosine_similarity(sixteen.double().flatten(1), wide.flatten(1))
    assert cosines.min() > 0.9999


# Autocast that keeps what rounds most


def off(model: Model, level: Level, x: Tensor) -> float:
    """How far x_0 in 16 bits is from that of float32."""
    with torch.no_grad():
        sixteen = model.guided([""] * len(x))(x, level)
        with float32():
            exact = model.guided([""] * len(x))(x, level)
    return ((sixteen - exact).norm() / exact.norm()).item()


def test_what_is_kept_in_float32_rounds_less_and_stays_the_network(model: Model) -> None:
    kept, level = load(find("digits-16"), torch.bfloat16), model.schedule.levels(10)[4]
    x = level.sigma * RecordNoise([1, 2], "cpu")(model.shape)
    assert 0 < off(kept, level, x) < off(model, level, x) / 1.5
    with torch.no_grad(), float32():
        assert torch.equal(kept.guided([""] * 2)(x, level), model.guided([""] * 2)(x, level))
    kept.double()
    with torch.no_grad(), float32():
        assert kept.guided([""] * 2)(x.double(), level).dtype == torch.float64


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_copies_of_weights_change_no_bit(kind: torch.dtype, tiny_sd: Path) -> None:
    """Under autocast to their type; to another, or without, the weights themselves count."""
    plain, halved = (load(find(str(tiny_sd))).denoiser.network for _ in range(2))
    halve(halved, kind)
    x, t = RecordNoise([1, 2], "cpu")((4, 16, 16)), torch.full((2,), 500.0)
    cond = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0))
    other = torch.float16 if kind is torch.bfloat16 else torch.bfloat16
    for autocast in (kind, other, None):
        with torch.no_grad(), torch.autocast("cpu", autocast, enabled=autocast is not None):
            assert torch.equal(halved(x, t, cond), plain(x, t, cond))
    assert set(halved.state_dict()) == set(plain.state_dict())


def test_copies_stand_for_the_weights_and_those_in_float32_have_none() -> None:
    denoiser = Denoiser(SmallNetwork(1, 0), "eps", torch.bfloat16)
    parts = dict(denoiser.network.named_modules())
    assert parts["inner"].halved_weight.dtype == torch.bfloat16
    assert not any(hasattr(parts[f"{end}.part"], "halved_weight") for end in ("enter", "leave"))
    x, level = RecordNoise([1], "cpu")((1, 8, 8)), Level(500.0, 0.6, 0.8)
    with torch.no_grad():
        before = denoiser(x, level)
        parts["inner"].halved_weight.zero_()
        assert not torch.equal(denoiser(x, level), before)
        with no_autocast():
            exact = denoiser(x, level)
            parts["inner"].halved_weight.fill_(torch.nan)
            assert torch.equal(denoiser(x, level), exact)


def test_what_is_kept_in_float32_compiles_as_one_graph() -> None:
    denoiser = Denoiser(SmallNetwork(1, 0), "eps", torch.bfloat16).requires_grad_(False)
    x, level = RecordNoise([1], "cpu")((1, 8, 8)), Level(500.0, 0.6, 0.8)
    plain = denoiser(x, level)
    denoiser.network.compile(fullgraph=True, backend="eager")
    torch.testing.assert_close(denoiser(x, level), plain)
    with torch._dynamo.config.patch(error_on_recompile=True):
        denoiser(x, level._replace(t=400.0))
