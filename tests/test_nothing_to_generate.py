"""A black mask: the given picture is the result, at no cost and in any company, and it is said."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.pack_sources import encoded
from helpers.tars import pixels, tar
from PIL import Image

import fcs
from fcs.core.notes import NOTES, note_lines
from fcs.engine.final_report import final_report
from fcs.models import Model
from fcs.shards.ledger.claims import identity
from fcs.shards.ledger.process_stats import ProcessStats, noted
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.local import LocalStore
from fcs.tasks import Inpaint, Layers
from fcs.tasks.pipeline import Pipeline
from fcs.tools.cli.pack import main as pack
from fcs.tools.cli.predict import main

GIVEN = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8)
BLACK, HALF = np.zeros((16, 16), np.uint8), np.pad(np.full((16, 8), 255, np.uint8), ((0, 0), (8, 0)))
SAID = {"notes": {"truncated": 2, "nothing_to_generate": 1}}
WARNING = "nothing_to_generate: {}: the mask is black: nothing is generated"


def test_a_call_hands_the_picture_on_without_sampling(
    digits: Model, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> Callable[[], None]:
        raise AssertionError("nothing is to be sampled")

    monkeypatch.setattr(Pipeline, "_sampled", never)
    with caplog.at_level(logging.WARNING, "fcs"):
        made = fcs.inpaint(digits, [GIVEN, GIVEN], BLACK, steps=2, progress=False)
    assert all(np.array_equal(np.array(image), GIVEN) for image in made.images)
    assert [(row["nfe"], row["residual"], row["nothing_to_generate"]) for row in made.metrics] == [(0, 0.0, True)] * 2
    assert WARNING.format("2 records") in caplog.text


def test_company_changes_nothing(digits: Model) -> None:
    alone = fcs.inpaint(digits, GIVEN, BLACK, seed=7, steps=2, progress=False)
    both = fcs.inpaint(digits, [GIVEN, GIVEN], [HALF, BLACK], seed=6, steps=2, progress=False)
    assert both.metrics[1] == alone.metrics[0]
    assert both.images[1].tobytes() == alone.images[0].tobytes()
    assert both.metrics[0]["nothing_to_generate"] is False
    assert both.metrics[0]["nfe"] > 0


def test_a_raw_picture_is_sampled_all_the_same(digits: Model) -> None:
    raw = fcs.apply(digits, Inpaint(paste=False), GIVEN, BLACK, steps=1, progress=False)
    assert raw.metrics[0]["nfe"] > 0
    assert raw.metrics[0]["nothing_to_generate"] is True


def test_a_task_that_can_do_without_a_mask_says_nothing(digits: Model, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fcs"):
        made = fcs.layers(digits, GIVEN, mask=BLACK, task=Layers(rounds=0), steps=3, progress=False)
    assert "nothing_to_generate" not in made.metrics[0]
    assert caplog.text == ""


def test_a_run_says_how_many_records_and_its_rows_which(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ones = (HALF > 0).astype(np.uint8)
    masks = {"a": HALF, "b": BLACK, "c": ones, "d": ones}
    members = [
        (f"{key}.{suffix}", pixels(x)) for key, m in masks.items() for suffix, x in (("png", GIVEN), ("mask.png", m))
    ]
    (tmp_path / "in.tar").write_bytes(tar([*members, ("e.png", b"broken"), ("e.mask.png", pixels(BLACK))]))
    run = ["--config", "digits_inpaint", f"data.shards={tmp_path}/in.tar", f"out={tmp_path}/out", "steps=1"]
    with caplog.at_level(logging.WARNING, "fcs"):
        assert main([*run, "sampler=ddim", "previews.max=0"]) == 3
    rows = pq.read_table(tmp_path / "out" / "metrics" / "in.parquet").to_pylist()
    assert [row["nothing_to_generate"] for row in rows] == [False, True, False, False, None]
    assert [row["nfe"] for row in rows] == [1, 0, 1, 1, None]
    assert caplog.text.count(WARNING.format("1 record")) == 1
    assert caplog.text.count("mask_of_two_values: 2 records: mask of 0 and 1") == 1
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["notes"] == {"nothing_to_generate": 1}


def test_notes_are_of_the_whole_run_however_many_processes_wrote_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = LocalStore(tmp_path / "out")
    for process in ("0", "1"):
        stats = ProcessStats(out, {**identity(), "id": process})
        stats.count([Row(0, "a", notes=("mask_scale", "faint_mask")), Row(1, "b", notes=("mask_scale",)), Row(2, "c")])
    assert noted(out) == {"mask_scale": 4, "faint_mask": 2}
    out.replace("summary.json", to_json({"complete": True, "records": {"ok": 5, "failed": 1}, "metrics": {}, **SAID}))
    with caplog.at_level(logging.WARNING, "fcs"):
        assert final_report(out, quiet=True) == 3
        assert caplog.text == ""
        out.replace("run.json", to_json({"settings": {}, "shards": []}))
        assert final_report(out) == 3
    assert caplog.text.count("mask_scale: 4 records") == 1
    assert caplog.text.count(WARNING.format("1 record")) == 1
    assert caplog.text.count("2 of 6 records: the prompt is longer") == 1


def test_packing_says_it_once_with_a_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.png").write_bytes(encoded(0))
        with Image.open(folder / f"{name}.png") as picture:
            Image.new("L", picture.size).save(folder / f"{name}.mask.png")
    assert pack([str(folder), str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == f"fcs-pack: {WARNING.format('2 records')}\n"


def test_each_note_is_one_line_with_its_count() -> None:
    lines = note_lines(dict.fromkeys(NOTES, 1) | {"faint_mask": 3, "colour_profile": 0})
    assert len(lines) == len(NOTES) - 1
    assert any(line.startswith("faint_mask: 3 records: ") for line in lines)
    assert any(line.startswith("mask_in_alpha: 1 record: ") for line in lines)
