"""Measurements that are numbers: ``KEY.npy`` in shards, made by fcs-pack from a folder of them."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers.tars import pixels, records, tar

import fcs
from fcs.core.errors import UsageError
from fcs.core.operators.downsample import Downsample
from fcs.engine.batch_size_finder import noise_batch
from fcs.engine.preflight import configure
from fcs.samplers import InexactNewton
from fcs.shards.input.decode import Format
from fcs.shards.input.decode_image import BadRecordError
from fcs.shards.input.decode_measurement import decode_measurement
from fcs.tasks import Restore
from fcs.tasks.pipeline import Pipeline
from fcs.tools.cli import pack, predict

FORM = Format(1, 16, 16, measurement=(2, 3))
RUN = ["-c", "digits_inpaint", "task=restore", "task.operator=downsample", "task.operator.scale=2"]
RUN += ["task.measurement=npy", "steps=2", "previews.max=1", "data.batch_size=3"]


def npy(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version, allow_pickle=True)
    return buffer.getvalue()


NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3) - 2.5


@pytest.mark.parametrize(
    "array",
    [
        NUMBERS,
        NUMBERS.astype(np.float64),
        NUMBERS.astype(np.float16),
        NUMBERS.astype(">f4"),
        NUMBERS[None],
        np.asfortranarray(NUMBERS),
        np.asfortranarray(NUMBERS[None]),
    ],
)
def test_floats_of_any_kind_are_read(array: np.ndarray) -> None:
    found = decode_measurement(npy(array), (2, 3))
    assert found.dtype == torch.float32
    assert found.equal(torch.from_numpy(NUMBERS))
    assert decode_measurement(npy(array, (2, 0)), (2, 3)).equal(found)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (npy(NUMBERS[:, :2]), r"shape \(2, 2\), expected \(2, 3\)"),
        (npy(NUMBERS.astype(np.int64)), "int64, expected float16, float32 or float64"),
        (npy(NUMBERS.astype(np.complex64)), "complex64, expected"),
        (npy(np.array([[{}] * 3] * 2, object)), "object, expected"),
        (npy(np.zeros((2, 3), [("a", "f4")])), "expected float16"),
        (npy(np.where(NUMBERS > 0, np.nan, NUMBERS)), "NaN, infinity"),
        (npy(np.where(NUMBERS > 0, np.inf, NUMBERS)), "NaN, infinity"),
        (npy(NUMBERS.astype(np.float64) * 1e300), "more than float32 holds"),
        (npy(NUMBERS)[:-1], "23 bytes of numbers, expected 6 float32"),
        (npy(NUMBERS) + b"more", "28 bytes of numbers"),
        (npy(NUMBERS)[:40], "no .npy file of numbers"),
        (b"", "no .npy file of numbers"),
        (pixels(np.zeros((2, 3), np.uint8)), "no .npy file of numbers"),
        (npy(NUMBERS).replace(b"(2, 3)", b"(2,-3)"), "shape"),
        (npy(NUMBERS).replace(b"(2, 3)", b"(9**9)"), "no .npy file of numbers"),
    ],
)
def test_what_is_no_measurement_is_named(data: bytes, said: str) -> None:
    with pytest.raises(BadRecordError) as error:
        decode_measurement(data, (2, 3))
    assert error.value.code == "bad_measurement"
    assert re.search(said, error.value.detail), error.value.detail


def test_records_hold_measurements_only_where_they_are_wanted(tmp_path: Path) -> None:
    members = [("a.npy", npy(NUMBERS)), ("a.txt", b"a digit"), ("b.txt", b"nothing"), ("c.npy", npy(NUMBERS[:1]))]
    first, second, third = records(tmp_path, members, FORM)
    assert first.measurement is not None
    assert first.image is not None
    assert first.measurement.equal(torch.from_numpy(NUMBERS))
    assert (first.prompt, first.image.shape, int(first.image.max())) == ("a digit", (1, 16, 16), 0)
    assert (second.error, third.error) == (
        "missing_measurement: no npy",
        "bad_measurement: shape (1, 3), expected (2, 3)",
    )
    digit = pixels(np.zeros((16, 16), np.uint8))
    both = records(tmp_path, [("a.png", digit), ("a.npy", b"an embedding"), ("c.npy", b"another")], Format(1, 16, 16))
    assert [(record.key, record.error, record.measurement) for record in both] == [("a", None, None)]


def test_a_folder_of_measurements_becomes_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    truth = torch.linspace(-1, 1, 256).reshape(1, 1, 16, 16)
    measured = [Downsample(2).A(truth * factor) for factor in (1, 0.5, -1)]
    Path("y").mkdir()
    for number, one in enumerate(measured):
        np.save(f"y/{number}.npy", one[0].numpy())
    np.save("y/bad.npy", np.full((1, 8, 8), np.nan))
    Path("y/0.txt").write_text("a digit")
    Path("y/0.png").write_bytes(pixels(np.zeros((8, 8), np.uint8)))
    assert pack.main(["y", "in", "--measurements"]) == 3
    said = capsys.readouterr()
    assert "passed over: 1 .png" in said.out
    assert "masks: 0 of 3, prompts: 1 of 3" in said.out
    assert "bad.npy: bad_measurement: NaN" in said.err

    assert predict.main([*RUN, "data.shards=in/*.tar", "out=o"]) == 0
    rows = pq.read_table("o/metrics/000000.parquet").to_pylist()
    assert [row["key"] for row in rows] == ["0", "1", "2"]
    assert all(row["psnr"] is None and row["ssim"] is None and row["residual"] > 0 for row in rows)
    results = records(tmp_path, Path("o/shards/000000.tar").read_bytes(), Format(1, 16, 16))
    made = {record.key: record.image for record in results}
    assert made.keys() == {"0", "1", "2"}
    task = Restore(Downsample(2), measurement="npy")
    settings = configure("digits_inpaint").config
    again = fcs.apply(
        fcs.load("digits-16"), task, torch.cat(measured), seed=[row["seed"] for row in rows], steps=2,
        sampler=settings.sampler, progress=False,
    )  # fmt: skip
    for row, picture in zip(rows, again.images, strict=True):
        assert np.array_equal(np.array(picture), made[row["key"]][0].numpy())


def test_a_shard_of_pictures_is_no_shard_of_measurements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.tar").write_bytes(tar([("a.png", pixels(np.zeros((16, 16), np.uint8)))]))
    with caplog.at_level(logging.WARNING, "fcs"):
        assert predict.main([*RUN, "data.shards=in.tar", "out=o"]) == 3
    assert "missing_measurement: no npy" in caplog.text
    assert "fcs-pack --measurements" in caplog.text


def test_measurements_are_not_made_and_given() -> None:
    with pytest.raises(UsageError, match="measurement=npy: expected picture where measurements are made"):
        Restore(Downsample(2), degrade=True, measurement="npy")


@pytest.mark.parametrize(("option", "value"), [("--mask", "box"), ("--size", "8")])
def test_options_of_pictures(option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack.main([str(tmp_path), str(tmp_path / "out"), "--measurements", option, value]) == 2
    assert f"{option}={value}: expected pictures, not --measurements" in capsys.readouterr().err


def test_memory_is_measured_with_measurements() -> None:
    task = Restore(Downsample(2), measurement="npy")
    pipeline = Pipeline(fcs.load("digits-16", device="cpu"), task, InexactNewton(step_sizes=[0.5]), steps=1)
    given = noise_batch((1, 16, 16), 2, task.measurement_shape(pipeline.model))
    assert pipeline(given).images.shape == (2, 1, 16, 16)
