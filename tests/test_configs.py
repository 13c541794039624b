"""Every shipped config runs: the embedded models' on their own samples, Stable Diffusion's on a tiny random model."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

import fcs
from fcs.core.package_files import CONFIGS, shipped_configs
from fcs.engine import pipeline_loading
from fcs.engine.config import load_config
from fcs.engine.config.read_config import read
from fcs.models import Model
from fcs.models.files import Found
from fcs.models.loading import load
from fcs.models.options import Options
from fcs.tasks import Restore
from fcs.tools.cli.predict import main

NAMES = shipped_configs()
SAMPLES = Path(fcs.__file__).parent / "samples" / "emoji"
MANY = 5  # moves at a level, more of which show nothing new
SHORT = ["steps=1", "data.limit=1", "data.batch_size=1", "data.workers=0", "previews.max=0"]


def stand_in(name: str, tiny_sd: Path, tiny_clip: Path) -> list[str]:
    """Overrides that put a tiny model of 64 pixels in the place of Stable Diffusion 1.5."""
    if not name.startswith("sd15"):
        return []
    tree = read(name)
    found = [f"model.name={tiny_sd}", f"data.shards={SAMPLES}/unseen.tar"]
    task = tree["task"] if isinstance(tree["task"], str) else tree["task"]["class_path"]
    if task in ("superres", "restore"):
        found.append("task.degrade=true")  # the samples hold the truth
    if task == "style":
        found.append(f"task.clip={tiny_clip}")
    if task == "layers":
        found += ["task.rounds=1", "task.samples=2", "task.cell=2"]
    moves = tree["sampler"].get("step_sizes", [])
    if len(moves) > MANY:
        load_config.load([name], ["data.shards=none.tar"])  # which takes them all
        found.append(f"sampler.step_sizes={moves[:2]}")
    if name in ("sd15_blur", "sd15_motion"):
        found.append("task.operator.length=9" if name == "sd15_motion" else "task.operator.sigma=2")
    return found


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    """What was read once, by what was asked for; dozens of configurations ask for the same."""
    return {}


@pytest.fixture
def _read_once(models: dict[str, Model], monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(found: Found, autocast: torch.dtype | None, options: Options) -> Model:
        asked = f"{found.path} {autocast} {options}"
        if asked not in models:
            models[asked] = load(found, autocast, options)
        return deepcopy(models[asked])

    monkeypatch.setattr(pipeline_loading, "load", copied)


@pytest.mark.usefixtures("_read_once")
@pytest.mark.parametrize("name", NAMES)
def test_config_runs(name: str, tiny_sd: Path, tiny_clip: Path, tmp_path: Path) -> None:
    short = [*SHORT, "task.rounds=1"] if name == "emoji_layers" else SHORT
    assert main(["--config", name, f"out={tmp_path}/o", *short, *stand_in(name, tiny_sd, tiny_clip)]) == 0
    (metrics,) = (tmp_path / "o" / "metrics").glob("*.parquet")
    assert [row["status"] for row in pq.read_table(metrics).to_pylist()] == ["ok"]


@pytest.mark.parametrize("name", NAMES)
def test_a_config_says_what_it_is_for(name: str) -> None:
    text = (CONFIGS / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_paper")])
def test_paper_configs_are_the_authors(name: str) -> None:
    run, settings = load_config.load([name], ["data.shards=none.tar"])
    assert (run.levels, run.trainer.precision) == ("paper", "32")
    assert settings["sampler"]["init_args"]["direction"]["init_args"]["difference"] == 0.005
    assert getattr(run.task, "paste", False) is False
    assert run.data.captions == ("style" in name)  # style is the one task with a prompt


@pytest.mark.parametrize(("suffix", "most"), [("style_fast", 60), ("fast", 40), ("balanced", 100)])
def test_presets_cost_what_they_say_and_no_backpropagation(suffix: str, most: int) -> None:
    names = [name for name in NAMES if name.endswith(f"_{suffix}") and ("style" in name) == ("style" in suffix)]
    assert names
    for name in names:
        run, _ = load_config.load([name], ["data.shards=none.tar"])
        assert run.sampler.calls(run.steps) <= most
        assert run.sampler.backwards(run.steps) == 0
        if isinstance(run.task, Restore):  # nor through the decoder
            assert run.task.error == "vae_newton"
