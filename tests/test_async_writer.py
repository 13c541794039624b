"""Behind the network: rows for every record, pictures as a reader sees them, errors that are not lost."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcs.core.collate import collate
from fcs.core.errors import StorageError, TooManyFailures
from fcs.core.records import Batch, Record, Result
from fcs.engine.async_writer import FIRST_RECORDS, IN_FLIGHT, THREADS, AsyncWriter, PreviewWriter
from fcs.engine.contact_sheet import sheet
from fcs.engine.encode_results import ResultEncoder, encode
from fcs.engine.progress import Progress
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.local import LocalStore
from fcs.tasks import Inpaint, Superres

SHAPE = (1, 16, 16)


def batch_of(records: list[Record | None]) -> Batch:
    return collate("shard", 0, records, SHAPE, run_seed=0)


def good(index: int) -> Record:
    generator = torch.Generator().manual_seed(index)
    image = torch.randint(256, SHAPE, generator=generator).byte()
    return Record(index, f"r{index}", image, torch.full(SHAPE, 255, dtype=torch.uint8))


def result_for(batch: Batch, finite: bool = True) -> Result:
    count = len(batch.records)
    return Result(batch.images.flip(3), (0.1,) * count, (3,) * count, (finite,) * count, 0.5)


def encoder(form: str = "png") -> ResultEncoder:
    return ResultEncoder(Inpaint(), form, False, {"model": "m", "fingerprint": "f"})


def test_a_row_for_each_record_and_none_for_padding() -> None:
    batch = batch_of([good(0), good(1).failed("bad_image", "torn"), None, good(3)])
    rows = encoder().rows(batch, result_for(batch))
    assert [(row.index, row.error) for row in rows] == [(0, None), (1, "bad_image: torn"), (3, None)]
    assert [name for name, _ in rows[0].members] == ["r0.png", "r0.json"]
    assert rows[0].seed == batch.seeds[0]


def test_what_is_not_finite_fails_alone() -> None:
    batch = batch_of([good(0), good(1)])
    result = replace(result_for(batch), finite=(False, True))
    errors = [row.error for row in encoder().rows(batch, result)]
    assert errors == ["not_finite: the model gave NaN or infinity", None]


@pytest.mark.parametrize("form", ["png", "jpg", "webp"])
def test_scores_are_of_the_written_picture(form: str) -> None:
    batch = batch_of([good(0)])
    (row,) = encoder(form).rows(batch, result_for(batch))
    written = np.array(Image.open(io.BytesIO(row.members[0][1])).convert("L")).astype(float)
    error = np.mean((written - batch.images[0, 0].numpy()) ** 2)
    assert row.scores["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)


def test_png_is_exact() -> None:
    picture = torch.arange(3 * 4 * 5).reshape(3, 4, 5).byte()
    back = np.array(Image.open(io.BytesIO(encode(picture, "png"))))
    assert np.array_equal(back, picture.permute(1, 2, 0).numpy())


def fails(batch: Batch, rows: list[Row]) -> None:
    raise StorageError("disk full")


def test_how_hard_png_compresses_changes_no_pixel() -> None:
    ramp = torch.arange(256).byte().expand(3, 256, 256)
    files = {level: encode(ramp, "png", level) for level in (None, 0, 1, 6)}
    assert len(files[0]) > len(files[1]) > len(files[6])
    assert len(files[0]) > len(files[None]) != len(files[6])  # large pictures: fast
    assert all(
        torch.equal(torch.from_numpy(np.array(Image.open(io.BytesIO(one)))).permute(2, 0, 1), ramp)
        for one in files.values()
    )
    small = ramp[:, :255]
    assert encode(small, "png") == encode(small, "png", 6)


def test_an_error_in_a_thread_reaches_the_run() -> None:
    batch = batch_of([good(0)])
    writer = AsyncWriter(encoder(), fails, Progress(1, stream=io.StringIO()))
    writer(batch, result_for(batch))
    with pytest.raises(StorageError, match="disk full"):
        writer.flush()
    writer.close()


def test_a_failing_store_never_blocks() -> None:
    batch = batch_of([good(0)])
    writer = AsyncWriter(encoder(), fails, Progress(1, stream=io.StringIO()))
    raised = 0
    for _ in range(3 * IN_FLIGHT * THREADS):
        try:
            writer(batch, result_for(batch))
        except StorageError:
            raised += 1
    with contextlib.suppress(StorageError):
        writer.close()
    assert raised > 0


@pytest.mark.parametrize(("most", "before", "stops"), [(None, 0, True), (3, 0, True), (200, 0, False), (60, 50, True)])
def test_too_many_failures(most: int | None, before: int, stops: bool) -> None:
    records: list[Record | None] = [good(i).failed("bad_image", "torn") for i in range(FIRST_RECORDS)]
    writer = AsyncWriter(encoder(), lambda *_: None, Progress(None, stream=io.StringIO()), most, before)
    writer(batch_of(records), None)
    if stops:
        with pytest.raises(TooManyFailures, match="bad_image: torn"):
            writer.flush()
    else:
        writer.flush()
    writer.close()


def test_one_good_record_is_enough_to_go_on() -> None:
    records: list[Record | None] = [good(0), *(good(i).failed("bad_image", "torn") for i in range(1, 80))]
    writer = AsyncWriter(encoder(), lambda *_: None, Progress(None, stream=io.StringIO()))
    batch = batch_of(records)
    writer(batch, result_for(batch))
    writer.close()


def test_failures_of_an_earlier_start_are_not_the_last_here() -> None:
    writer = AsyncWriter(encoder(), lambda *_: None, Progress(None, stream=io.StringIO()), 0, failed_before=1)
    batch = batch_of([good(0)])
    writer(batch, result_for(batch))
    with pytest.raises(TooManyFailures, match=r"^1 record failed, data\.max_failed=0$"):
        writer.close()


def test_failures_of_other_processes_count() -> None:
    records: list[Record | None] = [good(i).failed("bad_image", "torn") for i in range(2)]
    progress = Progress(None, stream=io.StringIO())
    for elsewhere in (1, 2):
        writer = AsyncWriter(encoder(), lambda *_: None, progress, 3, 0, failed_elsewhere=lambda n=elsewhere: n)
        writer(batch_of(records), None)
        with pytest.raises(TooManyFailures, match="4 records") if elsewhere == 2 else contextlib.nullcontext():
            writer.flush()
        writer.close()


def test_contact_sheets_are_limited_over_all_processes(tmp_path: Path) -> None:
    progress = Progress(None, stream=io.StringIO())
    for number in range(4):
        previews = PreviewWriter(LocalStore(tmp_path), most=2)
        writer = AsyncWriter(encoder(), lambda *_: None, progress, previews=previews)
        batch = replace(batch_of([good(0)]), number=number)
        writer(batch, result_for(batch))
        writer.close()
    assert sorted(path.name for path in (tmp_path / "previews").iterdir()) == ["shard-00000.png", "shard-00001.png"]


@pytest.mark.parametrize(("shape", "side"), [((1, 16, 16), 96), ((3, 200, 100), 200), ((3, 300, 600), 256)])
def test_a_contact_sheet_shows_pictures_upright_and_small(shape: tuple[int, int, int], side: int) -> None:
    white = torch.full(shape, 255, dtype=torch.uint8)
    batch = collate("s", 0, [Record(0, "a", white, white[:1])], shape, run_seed=0)
    made = sheet(batch, Result(white[None], (0.0,), (1,), (True,)), white[None], None)
    assert made is not None
    seen = np.array(Image.open(io.BytesIO(made)))
    assert seen.shape == (side + 8, 2 * side + 12, 3)
    inner = seen[4 : 4 + side, 4 : 4 + side]
    scale = side / max(shape[1:])
    assert (inner == 255).all(2).sum() == round(shape[1] * scale) * round(shape[2] * scale)
    blank = collate("s", 0, [None], shape, run_seed=0)
    assert sheet(blank, Result(white[None], (0.0,), (1,), (True,)), white[None], None) is None


def test_a_mask_counts_only_for_a_task_that_needs_it() -> None:
    record = good(0)
    mask = torch.zeros(SHAPE, dtype=torch.uint8)
    mask[:, 8:] = 255
    batch = batch_of([replace(record, mask=mask)])
    (inpainted,) = encoder().rows(batch, result_for(batch))
    (enlarged,) = replace(encoder(), task=Superres(2, degrade=True)).rows(batch, result_for(batch))
    assert inpainted.scores["psnr_generated"] != inpainted.scores["psnr"]
    assert enlarged.scores["psnr_generated"] == pytest.approx(enlarged.scores["psnr"])


def test_json_that_is_no_unicode_is_handed_through() -> None:
    extra = {"text": "\ud800 \u00e9"}
    batch = batch_of([replace(good(0), extra=extra)])
    (row,) = encoder().rows(batch, result_for(batch))
    assert json.loads(row.members[1][1])["input"] == extra
