"""One configuration over seeds: run, continued, evaluated; the figures' own laws."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import fcs
from fcs.bench import trial as trials
from fcs.bench.figures import judge
from fcs.bench.paired import differences
from fcs.bench.trial import FILE, RunFailed, Trial
from fcs.bench.truth import Truth, read_columns, read_scores, read_truth
from fcs.shards.input.decode import Format
from fcs.shards.input.sources import resolve


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """Four digits, two levels, two seeds."""
    overrides = ("data.limit=4", "data.batch_size=4", "steps=2", "previews.max=0")
    made = Trial("digits_half", overrides, (0, 1), tmp_path_factory.mktemp("trial"))
    made.predict()
    return made


def test_a_trial_is_evaluated_once(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    report = trial.evaluate()
    assert (report["records"], report["failed"], report["nfe"]) == (4, 0, 6)
    assert report["energy_own"]["low"] <= report["energy_own"]["mean"] <= report["energy_own"]["high"]
    assert len(report["single"]["energy_own"]) == 4
    assert json.loads((trial.out / FILE).read_text()) == report
    assert differences(report["single"], report["single"])["energy_own"] == {"mean": 0, "low": 0, "high": 0}
    monkeypatch.setattr(trials, "fcs_predict", lambda given: pytest.fail("ran again"))
    assert trial.report() == report
    other = Trial("digits_half", (*trial.overrides, "steps=3"), trial.seeds, trial.out)
    assert other.finished() is None


def test_a_run_that_fails_ends_it_with_its_code(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "fcs_predict", lambda given: 75)
    with pytest.raises(RunFailed) as failed:
        trial.predict()
    assert failed.value.code == 75


def test_captions_are_kept_from_the_model(trial: Trial) -> None:
    assert not trial.loaded[0].data.captions
    assert Trial("digits_half", (), (0,), trial.out, captions=True).loaded[0].data.captions


def test_the_truth_itself_scores_best() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (3, 3, 64, 64), generator=generator, dtype=torch.uint8)
    places = {("s", str(i)): i for i in range(3)}
    facts = [{"class": "a"}] * 3  # a class of one's own is not that of a digit
    truth = Truth(places, pictures, torch.full((3, 1, 64, 64), 255, dtype=torch.uint8), facts)
    right, wrong = (judge(made.expand(2, -1, -1, -1, -1), truth) for made in (pictures, pictures.flip(0)))
    assert right["retrieval"].tolist() == [1, 1, 1]
    assert right["energy_own"].abs().max() < 1e-3
    assert wrong["retrieval"].tolist() == [0, 1, 0]
    assert (wrong["energy_own"] >= right["energy_own"]).all()


def test_a_style_is_scored_without_a_truth(tmp_path: Path) -> None:
    overrides = ("data.limit=2", "data.batch_size=2", "steps=1", "sampler=ddim", "guidance=1", "previews.max=0")
    trial = Trial("emoji_style", overrides, (0, 1), tmp_path, True, False)
    report = trial.report()
    assert (report["records"], report.get("energy_own")) == (2, None)
    assert report["style"]["mean"] > 1
    assert 0 <= report["clip"]["mean"] <= 100
    rows = [read_scores(tmp_path / f"seed-{seed}", trial.results()[1], ["style"])["style"] for seed in (0, 1)]
    assert report["style"]["mean"] == pytest.approx(torch.stack(rows).mean().item())
    assert len(report["single"]["clip"]) == 2


def test_masks_count_where_the_task_looks_at_them() -> None:
    sources = resolve(str(Path(fcs.__file__).parent / "samples" / "digits" / "mixed.tar"))
    assert (read_truth(sources, Format(1, 16, 16, needs_mask=True), 3).masks == 0).any()
    assert (read_truth(sources, Format(1, 16, 16), 3).masks == 255).all()


def test_a_folder_that_is_called_as_a_setting_is_no_column(digits_run: Path, tmp_path: Path) -> None:
    out = shutil.copytree(digits_run, tmp_path / "seed=3" / "steps=5")
    assert read_columns(out) == read_columns(digits_run)
