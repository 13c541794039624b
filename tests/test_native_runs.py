"""Runs over pictures of any size: at their own, in bars, in buckets; the bytes do not depend on what is in a batch."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers.tars import pixels, tar
from PIL import Image

import fcs
from fcs.core.records import ReadBatch, Record
from fcs.engine.encode_results import encode_image
from fcs.engine.lay_batches import PENDING, Layout
from fcs.engine.native_results import RowJoiner
from fcs.engine.record_sizes import LONGEST
from fcs.models import Model
from fcs.samplers import InexactNewton
from fcs.shards.input.whole_tar import members_by_key
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.predict import main
from fcs.tools.report.finished_run import read_finished_run
from fcs.tools.report.record_pictures import read_pictures

SIZES = [(40, 30), (16, 16), (9, 50), (90, 70), (33, 120), (16, 40), (64, 64), (25, 25), (50, 20), (30, 64)]


def pictures(holes: bool = True) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A picture and a mask by key; the third mask is black, the fourth has holes far apart."""
    rng = np.random.default_rng(0)
    found = {}
    for number, (height, width) in enumerate(SIZES):
        image = rng.integers(0, 256, (height, width)).astype(np.uint8)
        mask = np.zeros((height, width), np.uint8)
        if number != 2:
            top, left = rng.integers(0, height - 5), rng.integers(0, width - 5)
            mask[top : top + 5, left : left + 5] = 255
        if number == 3:
            mask[:], mask[2:6, 2:6], mask[80:84, 60:64], mask[40:43, 30:33] = 0, 255, 255, 255
        found[f"r{number}"] = image, mask
    return found


def written(path: Path, keys: list[str] | None = None, broken: tuple[str, ...] = ()) -> Path:
    members: list[tuple[str, bytes]] = []
    for key, (image, mask) in pictures().items():
        if keys is None or key in keys:
            members += [
                (f"{key}.png", b"broken" if key in broken else pixels(image)),
                (f"{key}.mask.png", pixels(mask)),
            ]
    path.write_bytes(tar(members))
    return path


def run(shard: Path, out: Path, *settings: str) -> int:
    usual = ["steps=1", "data.batch_size=3", "data.workers=1", "previews.max=0", "data.resize=crop_to_mask"]
    return main(["--config", "digits_inpaint", f"data.shards={shard}", f"out={out}", *usual, *settings])


def shown(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)).convert("L"))


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run at native size; one record cannot be read."""
    folder = tmp_path_factory.mktemp("native")
    assert run(written(folder / "in.tar", broken=("r6",)), folder / "out") == 3
    return folder


def test_every_record_has_a_result_of_its_own_size_or_a_failure(native: Path) -> None:
    rows = {row["key"]: row for row in pq.read_table(native / "out" / "metrics" / "in.parquet").to_pylist()}
    made = members_by_key(native / "out" / "shards" / "in.tar")
    assert list(rows) == list(pictures())
    assert rows["r6"]["error"].startswith("bad_image")
    assert list(made) == [key for key in pictures() if key != "r6"]
    for key, sample in made.items():
        image, mask = pictures()[key]
        result, facts = shown(sample["png"]), json.loads(sample["json"])["fcs"]
        assert result.shape == image.shape
        assert np.array_equal(result[mask == 0], image[mask == 0])
        assert facts["size"] == rows[key]["size"] == list(image.shape)
        assert facts["crops"] == rows[key]["crops"]
        assert (result != image).any() == bool(facts["crops"]) != rows[key]["nothing_to_generate"]
        assert rows[key]["nfe"] % max(1, len(facts["crops"])) == 0
    assert rows["r2"]["nfe"] == 0
    assert len(rows["r3"]["crops"]) == 3
    assert rows["r3"]["nfe"] == 3 * rows["r0"]["nfe"] > 0


def test_company_and_interruption_change_no_byte(native: Path, tmp_path: Path) -> None:
    """A record alone, and a run that loses most of its parts and goes on, give the same files."""
    before = (native / "out" / "shards" / "in.tar").read_bytes()
    whole = members_by_key(native / "out" / "shards" / "in.tar")
    for key in ("r3", "r2"):
        alone = written(tmp_path / key / "in.tar", [key]) if (tmp_path / key).mkdir() is None else None
        assert alone is not None
        assert run(alone, tmp_path / key / "out") == 0
        assert members_by_key(tmp_path / key / "out" / "shards" / "in.tar")[key]["png"] == whole[key]["png"]
    shard = written(tmp_path / "in.tar", broken=("r6",))
    assert run(shard, tmp_path / "out", "data.limit=4") == 0
    assert run(shard, tmp_path / "other", "data.max_failed=0") == 4  # stops at the failure, batches before it are kept
    assert run(shard, tmp_path / "other", "data.max_failed=9") == 3
    assert (tmp_path / "other" / "shards" / "in.tar").read_bytes() == before


def test_another_batch_size_changes_no_more_than_rounding(native: Path, tmp_path: Path) -> None:
    assert run(native / "in.tar", tmp_path / "out", "data.batch_size=8") == 3
    whole = members_by_key(native / "out" / "shards" / "in.tar")
    for key, sample in members_by_key(tmp_path / "out" / "shards" / "in.tar").items():
        given, made = (json.loads(one["json"])["fcs"] for one in (whole[key], sample))
        assert (given["crops"], given["seed"], given["nfe"]) == (made["crops"], made["seed"], made["nfe"])


def test_the_report_shows_each_record_at_its_own_size(native: Path) -> None:
    found = read_pictures(read_finished_run(LocalStore(native / "out"), "run"), [("in", "r3")])
    one = found["in", "r3"]
    assert one.given is not None
    assert one.missing == ""


def test_lossy_formats_are_scored_as_written(native: Path, tmp_path: Path) -> None:
    assert run(native / "in.tar", tmp_path / "out", "format=jpg", "data.limit=2") == 0
    rows = pq.read_table(tmp_path / "out" / "metrics" / "in.parquet").to_pylist()
    for row in rows:
        image, mask = pictures()[row["key"]]
        result = shown(members_by_key(tmp_path / "out" / "shards" / "in.tar")[row["key"]]["jpg"]).astype(float)
        error = ((result - image)[mask == 0] ** 2).mean()
        assert row["psnr_kept"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)


@pytest.mark.parametrize("form", LONGEST)
def test_a_picture_that_the_results_format_cannot_hold_is_a_failure_of_its_own(form: str, tmp_path: Path) -> None:
    assert encode_image(Image.new("L", (LONGEST[form], 1)), form)
    holes = {
        key: np.zeros((4, width), np.uint8) for key, width in {"a": 20, "long": LONGEST[form] + 1, "z": 20}.items()
    }
    for hole in holes.values():
        hole[:2, :2] = 255
    members = [(f"{key}{end}.png", pixels(hole > 0)) for key, hole in holes.items() for end in ("", ".mask")]
    (tmp_path / "in.tar").write_bytes(tar(members))
    assert run(tmp_path / "in.tar", tmp_path / "out", f"format={form}") == 3
    rows = pq.read_table(tmp_path / "out" / "metrics" / "in.parquet").to_pylist()
    said = f"too_large: {LONGEST[form] + 1}x4, results in this format have at most {LONGEST[form]} pixels a side"
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"]
    assert said in rows[1]["error"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["task=superres", "task.scale=2"], "data.resize=crop_to_mask: expected none, crop or pad for task=superres"),
        (["task.paste=false"], "task.paste=false: expected true with data.resize=crop_to_mask"),
        (["task.margin=0.5"], "task.margin=0.5: expected 0 to 0.45"),
        (["metrics.features=[random]"], "metrics=random: expected none with data.resize=crop_to_mask"),
        (
            ["data.resize=bucket"],
            "data.resize=bucket: expected none, crop or pad for a model that makes pictures of one",
        ),
        (["data.resize=bucket", "task=style"], "data.resize=bucket: expected none, crop or pad for task=style"),
    ],
)
def test_what_cannot_be_is_one_line(
    settings: list[str], said: str, native: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(native / "in.tar", tmp_path / "out", *settings) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_that_crops_are_not_known(
    native: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(native / "in.tar", tmp_path / "out", "--dry-run", "--time") == 0
    said = capsys.readouterr().out
    assert "a crop; how many crops a record has is known when its mask is read" in said
    assert "crops a second" in said


def test_python_calls_do_the_same(digits: Model, native: Path) -> None:
    given = pictures()
    keys = ["r0", "r2", "r3"]
    seeds = [
        json.loads(members_by_key(native / "out" / "shards" / "in.tar")[key]["json"])["fcs"]["seed"] for key in keys
    ]
    made = fcs.inpaint(
        digits,
        [given[key][0] for key in keys],
        [given[key][1] for key in keys],
        seed=seeds,
        steps=1,
        sampler=InexactNewton(step_sizes=[0.5]),
        resize="crop_to_mask",
        batch_size=3,
        progress=False,
    )
    whole = members_by_key(native / "out" / "shards" / "in.tar")
    for key, image, row in zip(keys, made.images, made.metrics, strict=True):
        assert np.array_equal(np.array(image), shown(whole[key]["png"]))
        facts = json.loads(whole[key]["json"])["fcs"]
        assert row["crops"] == len(facts["crops"])
        assert row["psnr_generated"] == facts["scores"]["psnr_generated"]
    padded = fcs.inpaint(digits, *given["r2"], steps=1, resize="pad", progress=False)
    assert padded.images[0].size == (16, 3)
    with pytest.raises(ValueError, match=r"resize=crop_to_mask: expected none, crop or pad for task=superres"):
        fcs.apply(digits, fcs.tasks.Superres(2), given["r0"][0], resize="crop_to_mask", progress=False)


# Bars


def test_padded_records_come_back_without_bars(tmp_path: Path) -> None:
    shard = written(tmp_path / "in.tar")
    assert run(shard, tmp_path / "out", "data.resize=pad", "copy_inputs=true") == 0
    rows = {row["key"]: row for row in pq.read_table(tmp_path / "out" / "metrics" / "in.parquet").to_pylist()}
    for key, sample in members_by_key(tmp_path / "out" / "shards" / "in.tar").items():
        (height, width), result = pictures()[key][0].shape, shown(sample["png"])
        assert max(result.shape) == 16
        assert result.shape == (
            max(1, round(height * 16 / max(height, width))),
            max(1, round(width * 16 / max(height, width))),
        )
        assert rows[key]["size"] == [height, width]
        assert rows[key]["psnr_kept"] is None
    small = 3 * 16  # pixels of the third: 9 x 50 becomes 3 x 16, too small for SSIM's window
    assert small == shown(members_by_key(tmp_path / "out" / "shards" / "in.tar")["r2"]["png"]).size
    assert rows["r2"]["ssim"] is None


def test_enlarged_records_come_back_without_bars(tmp_path: Path) -> None:
    """What is measured is padded before it is enlarged."""
    shard = written(tmp_path / "in.tar", ["r0", "r4"])
    settings = ["task=superres", "task.scale=4", "data.resize=pad", "sampler=ddim"]
    assert run(shard, tmp_path / "out", *settings) == 0
    made = {
        key: shown(sample["png"]).shape
        for key, sample in members_by_key(tmp_path / "out" / "shards" / "in.tar").items()
    }
    assert made == {"r0": (16, 12), "r4": (4, 16)}


# Buckets


def test_buckets_give_each_record_the_nearest_shape(tiny_sd: Path, tmp_path: Path) -> None:
    shard = written(tmp_path / "in.tar", broken=("r6",))
    settings = [f"model.name={tiny_sd}", "data.resize=bucket", "data.batch_size=2", "task.erode=0"]
    assert run(shard, tmp_path / "out", *settings) == 3
    made = members_by_key(tmp_path / "out" / "shards" / "in.tar")
    sizes = {key: shown(sample["png"]).shape for key, sample in made.items()}
    assert sizes["r1"] == sizes["r7"] == (64, 64)
    assert sizes["r3"] == (72, 56)
    assert sizes["r5"] == sizes["r9"] == (48, 88)
    assert sizes["r8"] == (88, 48)
    for sample in made.values():
        facts = json.loads(sample["json"])["fcs"]
        (left, top, right, bottom), (height, width) = (
            facts["crops"][0] if "crops" in facts else (0, 0, 1, 1),
            facts["size"],
        )
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    # In other company, and with other records before them, they are the same.
    (tmp_path / "few").mkdir()
    few = written(tmp_path / "few" / "in.tar", ["r5", "r7", "r8", "r9"])
    assert run(few, tmp_path / "few" / "out", *settings) == 0
    for key, sample in members_by_key(tmp_path / "few" / "out" / "shards" / "in.tar").items():
        assert sample["png"] == made[key]["png"]


# How samples wait for each other


def record(index: int, side: int = 16, **more: object) -> Record:
    return Record(index, str(index), torch.zeros(1, side, side, dtype=torch.uint8), **more)  # type: ignore[arg-type]


def test_samples_of_one_size_share_batches_and_none_waits_for_long() -> None:
    layout = Layout(4, (1, 16, 16), 0, grouped=True)
    sizes = [8, 16, 16, 16, 24, 16]
    read = [
        ReadBatch("s", number, tuple(record(4 * number + slot, sizes[(number + slot) % 6]) for slot in range(4)))
        for number in range(3 * PENDING)
    ]
    open_now: set[int] = set()
    seen: list[int] = []
    feed = iter(read)

    def told() -> object:
        for one in feed:
            open_now.add(one.number)
            yield one

    left = {one.number: 4 for one in read}
    for batch in layout(told()):  # type: ignore[arg-type]
        assert len({one.image.shape for one in batch.records if one is not None and one.image is not None}) == 1
        assert len(batch.records) == 4
        for one in batch.records:
            if one is not None:
                seen.append(one.index)
                left[one.index // 4] -= 1
                assert batch.members[one.index // 4] == 4
        assert sum(count > 0 for number, count in left.items() if number in open_now) <= PENDING + 1
    assert sorted(seen) == list(range(4 * len(read)))


def test_failed_records_take_no_slot_of_others() -> None:
    layout = Layout(2, (1, 16, 16), 0, grouped=True)
    read = [ReadBatch("s", 0, (record(0), record(1).failed("bad_image", "torn"))), ReadBatch("s", 1, (record(2), None))]
    found = [[one.index for one in batch.records if one is not None] for batch in layout(read)]
    assert sorted(found) == [[0, 2], [1]]


def test_a_batch_is_finished_when_all_of_its_rows_are_there() -> None:
    done: list[tuple[str, int, list[int]]] = []
    joiner = RowJoiner(lambda shard, number, rows: done.append((shard, number, [row.index for row in rows])), 4)
    batch = Layout(4, (1, 16, 16), 0).batch("s", 0, [], members={0: 2, 1: 1})
    joiner(batch, [Row(1, "b")])
    assert done == []
    joiner(batch, [Row(4, "e")])
    joiner(batch, [Row(0, "a")])
    assert sorted(done) == [("s", 0, [1, 0]), ("s", 1, [4])]
