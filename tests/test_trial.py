"""The jobs that judge: a short trial end to end, and which cells an ablation has."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from contact_sheets import columns, sheet

from fcs.bench import worth
from fcs.bench.ablate import Cell, cells
from fcs.bench.cells import row, table
from fcs.bench.figures import judge
from fcs.bench.options import command
from fcs.bench.trial import FILE, Trial
from fcs.bench.truth import Truth
from fcs.core.errors import UsageError

AXES = {"moves": [1, 2], "size": [0.5, 1.0], "difference": [0.005, 0.05], "guidance": [1.0, 2.0], "steps": [20, 10]}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """Four digits, two levels, two seeds."""
    overrides = ("data.limit=4", "steps=2", "previews.max=0")
    made = Trial("digits_half", overrides, (0, 1), tmp_path_factory.mktemp("trial"))
    assert made.predict() == 0
    return made


def test_a_trial_is_judged_and_continued(trial: Trial) -> None:
    report = trial.evaluate()
    assert (report["records"], report["failed"], report["nfe"]) == (4, 0, 6)
    assert report["energy_own"]["low"] <= report["energy_own"]["mean"] <= report["energy_own"]["high"]
    assert len(report["single"]["energy_own"]) == 4
    assert json.loads((trial.out / FILE).read_text()) == report
    assert trial.predict() == 0
    difference = trial.evaluate(versus=trial.out)["versus"]["energy_own"]
    assert difference == {"mean": 0, "low": 0, "high": 0}


def test_captions_are_kept_from_the_model(trial: Trial) -> None:
    assert not trial.loaded[0].data.captions
    assert Trial("digits_half", (), (0,), trial.out, captions=True).loaded[0].data.captions


def test_the_truth_itself_scores_best() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (3, 3, 64, 64), generator=generator, dtype=torch.uint8)
    places = {("s", str(i)): i for i in range(3)}
    truth = Truth(places, pictures, torch.full((3, 1, 64, 64), 255, dtype=torch.uint8), [{}] * 3)
    right, wrong = (
        judge(pictures.expand(2, -1, -1, -1, -1), truth),
        judge(pictures.flip(0).expand(2, -1, -1, -1, -1), truth),
    )
    assert right["retrieval"].tolist() == [1, 1, 1]
    assert right["energy_own"].abs().max() < 1e-3
    assert wrong["retrieval"].tolist() == [0, 1, 0]
    assert (wrong["energy_own"] >= right["energy_own"]).all()


def test_cells_of_an_ablation() -> None:
    found = list(cells(AXES, full=False))
    assert found[0] == Cell(1, 0.5, 0.005, 1.0, 20)
    assert len(found) == len(set(found)) == 4 + 1 + 1 + 2  # the grid, a difference, a number of steps, two guided
    assert {cell.guidance for cell in found if cell.captions} == {1.0, 2.0}
    assert len(list(cells(AXES, full=True))) == 16 + 32  # guidance 1 without captions, and both with
    unprompted = list(cells(AXES | {"guidance": [1.0]}, full=False))
    assert not any(cell.captions for cell in unprompted)


def test_step_sizes_fall_to_a_fifth() -> None:
    assert Cell(5, 0.5, 0.005, 1, 20).overrides[0] == "sampler.step_sizes=[0.5, 0.4, 0.3, 0.2, 0.1]"


def test_the_table_has_a_line_a_cell(trial: Trial) -> None:
    report = trial.evaluate()
    rows = [row(asdict(cell), report) for cell in cells(AXES, full=False)]
    lines = table(rows, AXES).splitlines()
    assert len(lines) == 2 + len(rows)
    assert len({line.count("|") for line in lines}) == 1


def test_a_sheet_shows_given_made_and_true(tmp_path: Path) -> None:
    rows = columns("digits_inpaint", ["steps=1", f"out={tmp_path}/o"], count=3, seed=0)
    assert [tuple(shown.shape) for shown in rows] == [(3, 3, 16, 16)] * 3
    assert sheet(rows, 32).size == (3 * 36 + 4, 3 * 36 + 4)
    assert not (tmp_path / "o").exists()
    given, made, true = rows
    assert not torch.equal(given, true)
    assert not torch.equal(made, true)


def test_variants_are_compared_with_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "worth.yaml"
    file.write_text("config: digits_half\nvariants:\n  as it is: []\n  no moves: ['sampler.step_sizes=[]']\n")
    arguments = [str(file), "--limit", "3", "--out", str(tmp_path / "out"), "steps=2"]
    monkeypatch.setattr(sys, "argv", ["worth.py", *arguments])
    command(worth.parser(), worth.run)
    rows = json.loads((tmp_path / "out" / "worth.json").read_text())["rows"]
    assert [(one["variant"], one["nfe"]) for one in rows] == [("as it is", 6), ("no moves", 2)]
    assert rows[0]["difference_to_first"] is None
    assert rows[1]["difference_to_first"]["low"] <= rows[1]["difference_to_first"]["high"]
    assert (tmp_path / "out" / "worth-pictures.png").exists()


@pytest.mark.parametrize("text", ["", "variants: [", "config: a", "config: a\nvariants: [b]", "- a"])
def test_a_file_of_variants_that_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "worth.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match="FILE"):
        worth.variants(file)
    with pytest.raises(UsageError, match="FILE"):
        worth.variants(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "file", sorted((Path(worth.__file__).parent / "worth").glob("*.yaml")), ids=lambda file: file.stem
)
def test_shipped_variants_are_configurations(file: Path) -> None:
    found = worth.variants(file)
    assert next(iter(found.named.values())) == []
    for overrides in found.named.values():
        assert Trial(found.config, tuple(overrides), (0,), Path(), found.captions, found.truth).loaded
