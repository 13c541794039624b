"""Whole runs of pipelines from folders: the command, what it refuses, a run that is cut and continued."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fcs
from fcs.core.errors import Interrupted
from fcs.engine.predict_module import PredictModule
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.tools.cli.predict import main

pytestmark = pytest.mark.families
PipeOf = Callable[[str], Any]
RECORDS = 6


@pytest.fixture(scope="module")
def folders(pipe_of: PipeOf, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny pipeline."""
    root = tmp_path_factory.mktemp("folders")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            pipe_of(name).save_pretrained(root / name)
        return root / name

    return folder


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures with masks, prompts and, of one, a seed."""
    path = tmp_path_factory.mktemp("in") / "in.tar"
    draw = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for i in range(RECORDS):
            mask = np.zeros((32, 32), np.uint8)
            mask[:, 16:] = 255
            members = {"png": png(draw.integers(0, 256, (32, 32, 3), np.uint8)), "mask.png": png(mask)}
            members |= {"txt": f"a red apple {i % 2}".encode()} | ({"json": b'{"seed": 7}'} if i == 3 else {})
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{i:03d}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def png(pixels: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def command(model: Path, shard: Path, out: Path, *more: str) -> list[str]:
    fixed = ["-c", "digits_inpaint", f"model.name={model}", "model.size=[32,32]", f"data.shards={shard}", f"out={out}"]
    return [*fixed, "steps=2", "data.batch_size=2", "data.workers=0", "previews.max=0", *more]


@pytest.mark.parametrize("name", ["flux", "sdxl"])
def test_a_run_that_is_cut_and_continued_gives_the_same_bytes(
    name: str, folders: Callable[[str], Path], shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = folders(name)
    more = ("guidance=2", "negative_prompt=blurry")
    assert main(command(model, shard, tmp_path / "whole", *more)) == 0
    batches, step = [], PredictModule.predict_step

    def cut(self: PredictModule, batch: Any, batch_idx: int) -> Any:
        batches.append(batch_idx)
        if len(batches) == 2:
            raise Interrupted("cut")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PredictModule, "predict_step", cut)
        assert main(command(model, shard, tmp_path / "cut", *more)) == 75
    assert main(command(model, shard, tmp_path / "cut", *more)) == 0
    tars = [(tmp_path / out / "shards" / "in.tar").read_bytes() for out in ("whole", "cut")]
    assert tars[0] == tars[1]
    summary = json.loads((tmp_path / "cut" / "summary.json").read_text())
    assert summary["records"] == {"ok": RECORDS, "failed": 0}
    pinned = json.loads((tmp_path / "cut" / "run.json").read_text())
    assert "pipeline" in json.dumps(pinned)


def test_what_a_dry_run_says(
    folders: Callable[[str], Path], shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--dry-run", "model.arguments.max_sequence_length=8"]
    assert main(command(folders("flux"), shard, tmp_path / "out", *more)) == 0
    said = capsys.readouterr().out
    assert "asked through the call of FluxPipeline" in said
    assert "(3, 32, 32)" in said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("model.arguments.max_sequence_lenght=8", "did you mean max_sequence_length?"),
        ("model.arguments.height=64", "expected it as model.size"),
        ("model.lora=nowhere.safetensors", "model.lora=nowhere.safetensors: expected a file .safetensors"),
        ("model.lora=x@much", "expected a number after the @"),
        ("model.offload=all", "one of none, text, model, sequential"),
        ("model.size=[33,32]", "expected a size that FluxPipeline makes"),
        ("model.size=[32]", "expected [height, width]"),
        ("sampler=dps", "only asks its network forwards"),
        ("levels=paper", "expected even for a flow model"),
    ],
)
def test_what_a_run_refuses_in_one_line(
    given: str,
    words: str,
    folders: Callable[[str], Path],
    shard: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = folders("flux")
    capsys.readouterr()  # what building it said
    assert main(command(model, shard, tmp_path / "out", given)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "out").exists()


def test_parts_of_other_code_are_not_run(
    folders: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], shard: Path
) -> None:
    index = json.loads((folders("flux") / "model_index.json").read_text())
    (tmp_path / "model").mkdir()
    index["transformer"] = ["transformer_own", "OwnTransformer"]
    (tmp_path / "model" / "model_index.json").write_text(json.dumps(index))
    for name in index:
        if (folders("flux") / name).is_dir():
            (tmp_path / "model" / name).symlink_to(folders("flux") / name)
    assert main(command(tmp_path / "model", shard, tmp_path / "out")) == 2
    assert "not transformer of transformer_own, whose code would be run" in capsys.readouterr().err


def test_stable_diffusion_keeps_its_own_path_unless_its_call_is_needed(tiny_sd: Path) -> None:
    plain, called = (
        fcs.load(tiny_sd, device="cpu"),
        fcs.load(tiny_sd, device="cpu", arguments={"guidance_rescale": 0.7}),
    )
    assert plain.way == "the network alone"
    assert isinstance(called, DiffusersPipeline)
    same = fcs.load(tiny_sd, device="cpu", arguments={"guidance_rescale": 0.0})
    x, level = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)), plain.schedule.levels(4)[1]
    made = [model.guided(["red"], scale=3.0)(x, level) for model in (plain, same, called)]
    torch.testing.assert_close(made[0], made[1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(made[0], made[2], rtol=1e-4, atol=1e-4)


def test_sizes_of_stable_diffusion(tiny_sd: Path) -> None:
    model = fcs.load(tiny_sd, device="cpu", size=(32, 64))
    assert fcs.sample(model, steps=1, progress=False).images[0].size == (64, 32)
    with pytest.raises(ValueError, match=r"model\.size=\[36, 64\]: expected multiples of 8"):
        fcs.load(tiny_sd, device="cpu", size=(36, 64))
    with pytest.raises(ValueError, match=r"model\.size=\[20, 20\]: expected \[16, 16\]"):
        fcs.load("digits-16", device="cpu", size=(20, 20))


def test_a_prompt_is_truncated_where_no_encoder_reads_all_of_it(pipe_of: PipeOf) -> None:
    flux, sdxl = (fcs.load(pipe_of(name), size=(32, 32)) for name in ("flux", "sdxl"))
    longer = "a b c d e f g h i j k l m n o p q r"  # more than the 16 tokens of the tiny CLIP, in T5's 512
    assert not flux.truncates(longer)
    assert sdxl.truncates(longer)
    assert not sdxl.truncates("a b")
    short = fcs.load(pipe_of("flux"), size=(32, 32), arguments={"max_sequence_length": 8})
    assert short.truncates(longer)
    assert fcs.sample(sdxl, prompt=longer, steps=1, progress=False).metrics[0]["truncated"]
