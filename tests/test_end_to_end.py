"""The main job on real input: what it writes, that it is the same however it was cut, how it ends."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset as wds
from helpers.runs import DIGITS_RUN
from helpers.shards import samples
from PIL import Image

import fcs
from fcs.core.records import Record
from fcs.shards.input.reader import ShardReader
from fcs.tools.cli.predict import main


def picture(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)))


def write_shard(path: Path, records: list[dict[str, bytes]]) -> None:
    with wds.TarWriter(str(path), mtime=0) as tar:
        for record in records:
            tar.write(record)


# webdataset leaves its file open until it is collected
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_webdataset_reads_the_results(digits_run: Path) -> None:
    found = list(wds.WebDataset(str(digits_run / "shards" / "mixed.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in found] == list(samples(digits_run / "shards" / "mixed.tar"))


def test_files_of_a_run(digits_run: Path, digits_shard: Path) -> None:
    given, made = samples(digits_shard), samples(digits_run / "shards" / "mixed.tar")
    assert list(made) == list(given)[:24]
    rows = pq.read_table(digits_run / "metrics" / "mixed.parquet").to_pylist()
    assert [row["key"] for row in rows] == list(made)
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["nfe"] for row in rows} == {2 * 3}
    commit = json.loads((digits_run / "shards" / "mixed.json").read_text())
    assert commit["counts"] == {"records": 24, "ok": 24, "failed": 0}
    summary = json.loads((digits_run / "summary.json").read_text())
    assert summary["complete"] is True
    assert summary["records"] == {"ok": 24, "failed": 0}
    assert summary["metrics"]["psnr"]["n"] == 24
    assert summary["metrics"]["psnr"]["mean"] == pytest.approx(np.mean([row["psnr"] for row in rows]))
    assert len(list((digits_run / "previews").glob("*.png"))) == 3
    assert not (digits_run / "parts").exists() or not list((digits_run / "parts").iterdir())
    assert len(list((digits_run / "workers").glob("*.json"))) == 1


def test_kept_pixels_are_exact_and_facts_are_told(digits_run: Path, digits_shard: Path) -> None:
    given, made = samples(digits_shard), samples(digits_run / "shards" / "mixed.tar")
    changed = 0
    for key, sample in made.items():
        mask, image = picture(given[key]["mask.png"]), picture(given[key]["png"])
        result = picture(sample["png"])
        assert np.array_equal(result[mask == 0], image[mask == 0])
        changed += int((result[mask > 0] != image[mask > 0]).sum())
        facts = json.loads(sample["json"])
        assert facts["input"] == json.loads(given[key]["json"])
        assert set(facts["fcs"]) == {"seed", "nfe", "residual", "scores", "model", "fingerprint"}
    assert changed > 0


def test_a_record_alone_from_its_seed(digits_run: Path, digits_shard: Path) -> None:
    given, made = samples(digits_shard), samples(digits_run / "shards" / "mixed.tar")
    key = list(made)[5]
    seed = json.loads(made[key]["json"])["fcs"]["seed"]
    model = fcs.load("digits-16")
    sampler = fcs.samplers.InexactNewton(step_sizes=[0.5])
    image, mask = picture(given[key]["png"]), picture(given[key]["mask.png"])
    alone = fcs.inpaint(model, image, mask, seed=seed, steps=2, sampler=sampler).images[0]
    difference = np.abs(np.asarray(alone).astype(int) - picture(made[key]["png"]).astype(int))
    assert np.median(difference) <= 1


def test_complete_run_changes_nothing(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in digits_run.rglob("*")}
    assert main(["--config", "digits_inpaint", f"out={digits_run}", *DIGITS_RUN]) == 0
    assert {path: path.stat().st_mtime_ns for path in digits_run.rglob("*")} == before
    assert "24 ok" in capsys.readouterr().out


def test_interrupted_run_continues_to_the_same_bytes(digits_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "cut"
    slow = [sys.executable, "-c", SLOW, "--config", "digits_inpaint", f"out={out}", *DIGITS_RUN]
    with subprocess.Popen(slow, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: list(out.glob("parts/mixed/0*")), process)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "SIGTERM" in said
    assert not (out / "shards" / "mixed.json").exists()
    assert main(["--config", "digits_inpaint", f"out={out}", *DIGITS_RUN]) == 0
    tar = "shards/mixed.tar"
    assert (out / tar).read_bytes() == (digits_run / tar).read_bytes()


# The command with a sampler that takes its time, so that a signal finds it at work.
SLOW = """
import sys, time
import torch
torch.set_num_threads(1)
from fcs.tools.cli import predict
from fcs.core.denoiser import Guided
call = Guided.__call__
def slow(self, x, level):
    time.sleep(0.1)
    return call(self, x, level)
Guided.__call__ = slow
sys.exit(predict.main())
"""


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Wait until ``condition()`` is true while the process lives."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_batch_size_is_free_on_continuation(tmp_path: Path) -> None:
    arguments = ["--config", "digits_inpaint", f"out={tmp_path}/o", "steps=1", "data.limit=20"]
    assert main([*arguments, "data.batch_size=8"]) == 0
    assert main([*arguments, "data.batch_size=4", "data.workers=0"]) == 0


def test_failures_are_rows(tmp_path: Path, digits_shard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"__key__": key, **members} for key, members in list(samples(digits_shard).items())[:3]]
    records[1]["png"] = b"no picture"
    del records[2]["mask.png"]
    write_shard(tmp_path / "in.tar", records)
    arguments = ["--config", "digits_inpaint", f"data.shards={tmp_path}/in.tar", f"out={tmp_path}/o", "steps=1"]
    assert main(arguments) == 3
    rows = pq.read_table(tmp_path / "o" / "metrics" / "in.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["ok", "failed", "failed"]
    assert rows[1]["error"].startswith("bad_image")
    assert rows[2]["error"].startswith("missing_mask")
    assert list(samples(tmp_path / "o" / "shards" / "in.tar")) == [records[0]["__key__"]]
    said = capsys.readouterr()
    assert "1 ok, 2 failed" in said.out
    assert "bad_image" in said.err
    assert main(arguments) == 3


def test_failed_records_are_tried_again(tmp_path: Path, digits_shard: Path) -> None:
    records = [{"__key__": key, **members} for key, members in list(samples(digits_shard).items())[:4]]
    del records[1]["png"]
    write_shard(tmp_path / "in.tar", records)
    arguments = ["--config", "digits_inpaint", f"data.shards={tmp_path}/in.tar", f"out={tmp_path}/o", "steps=1"]
    assert main(arguments) == 3
    first = samples(tmp_path / "o" / "shards" / "in.tar")
    assert main([*arguments, "data.retry_failed=true"]) == 3
    commit = json.loads((tmp_path / "o" / "shards" / "in.json").read_text())
    assert commit["attempt"] == 2
    assert commit["counts"] == {"records": 4, "ok": 3, "failed": 1}
    assert samples(tmp_path / "o" / "shards" / "in.tar") == first


def test_too_many_failures_stop_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shard(tmp_path / "in.tar", [{"__key__": f"r{i}", "png": b"no picture"} for i in range(300)])
    arguments = ["--config", "digits_inpaint", f"data.shards={tmp_path}/in.tar", f"out={tmp_path}/o", "steps=1"]
    assert main(arguments) == 4
    assert "first" in capsys.readouterr().err
    assert main([*arguments, "data.max_failed=10"]) == 4
    assert main([*arguments, "data.max_failed=300"]) == 3


def test_a_truncated_shard_gives_its_whole_records(tmp_path: Path, digits_shard: Path) -> None:
    (tmp_path / "in.tar").write_bytes(digits_shard.read_bytes()[:20_000])
    arguments = ["--config", "digits_inpaint", f"data.shards={tmp_path}/in.tar", f"out={tmp_path}/o", "steps=1"]
    assert main(arguments) == 3
    rows = pq.read_table(tmp_path / "o" / "metrics" / "in.parquet").to_pylist()
    assert rows[-1]["key"] is None
    assert rows[-1]["error"].startswith("truncated: ")
    with tarfile.open(digits_shard) as tar:
        whole = [m.name.split(".")[0] for m in tar if m.name.endswith(".mask.png") and m.offset_data + m.size <= 20_000]
    assert [row["key"] for row in rows[:-1]][: len(whole) - 1] == whole[: len(whole) - 1]


def test_as_many_shards_are_read_at_once_as_there_are_workers(
    tmp_path: Path, digits_shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, record = next(iter(samples(digits_shard).items()))
    for number in range(20):
        write_shard(tmp_path / f"{number:02d}.tar", [{**record, "__key__": key}])
    all_open, read = threading.Barrier(20), ShardReader.record

    def together(reader: ShardReader, number: int) -> Record:
        all_open.wait(60)
        return read(reader, number)

    monkeypatch.setattr(ShardReader, "record", together)
    shards = [f"data.shards={tmp_path}/*.tar", "data.workers=20", "data.batch_size=1", "steps=1", "sampler=ddim"]
    assert main(["--config", "digits_inpaint", f"out={tmp_path}/o", *shards]) == 0


def test_own_seed_wins(tmp_path: Path, digits_shard: Path) -> None:
    record = next(iter(samples(digits_shard).values()))
    twins = [{**record, "__key__": key, "json": json.dumps({"seed": 5}).encode()} for key in ("a", "b")]
    write_shard(tmp_path / "in.tar", twins)
    arguments = ["--config", "digits_inpaint", f"data.shards={tmp_path}/in.tar", f"out={tmp_path}/o", "steps=2"]
    assert main(arguments) == 0
    made = samples(tmp_path / "o" / "shards" / "in.tar")
    assert made["a"]["png"] == made["b"]["png"]
    rows = pq.read_table(tmp_path / "o" / "metrics" / "in.parquet").to_pylist()
    assert [row["seed"] for row in rows] == [5, 5]


@pytest.mark.parametrize(
    "override",
    [
        "sampler=replacement",
        "sampler.direction=gradient",
        "sampler.direction=local",
        "levels=paper",
        "model.name=digits-16-flow",
        "format=jpg",
        "format=webp",
        "task.paste=false",
        "copy_inputs=true",
        "trainer.precision=bf16",
    ],
)
def test_choices_run(override: str, tmp_path: Path) -> None:
    arguments = ["--config", "digits_inpaint", f"out={tmp_path}/o", "steps=2", "data.limit=3", "data.batch_size=3"]
    assert main([*arguments, override]) == 0
    rows = pq.read_table(tmp_path / "o" / "metrics" / "mixed.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * 3


def test_superresolution_runs(tmp_path: Path) -> None:
    assert main(["--config", "digits_superres", f"out={tmp_path}/o", "data.limit=4", "steps=3"]) == 0
    rows = pq.read_table(tmp_path / "o" / "metrics" / "mixed.parquet").to_pylist()
    assert all(row["psnr"] > 10 for row in rows)


def test_latent_model_from_a_folder(tmp_path: Path, tiny_sd: Path) -> None:
    rng = np.random.default_rng(0)
    model = fcs.load(str(tiny_sd))
    _, height, width = model.picture_shape
    records = []
    for i in range(3):
        image, mask = rng.integers(0, 256, (height, width, 3)).astype(np.uint8), np.zeros((height, width), np.uint8)
        mask[:, : width // 2] = 255
        files = {}
        for name, array in (("png", image), ("mask.png", mask)):
            buffer = io.BytesIO()
            Image.fromarray(array).save(buffer, "png")
            files[name] = buffer.getvalue()
        records.append({"__key__": f"r{i}", **files, "txt": b"red apple"})
    write_shard(tmp_path / "in.tar", records)
    config = tmp_path / "mine.yaml"
    config.write_text(
        f"data: {{shards: {tmp_path}/in.tar, batch_size: 2}}\nmodel: {{name: {tiny_sd}}}\ntask: inpaint\n"
        f"sampler: newton\nsteps: 2\nguidance: 2.0\nout: {tmp_path}/o\n"
    )
    assert main(["--config", str(config)]) == 0
    made = samples(tmp_path / "o" / "shards" / "in.tar")
    for record in records:
        mask = picture(record["mask.png"])
        assert np.array_equal(picture(made[record["__key__"]]["png"])[mask == 0], picture(record["png"])[mask == 0])


def test_two_processes_share_a_run(digits_run: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "fcs.tools.cli.predict",
        "--config",
        "digits_inpaint",
        f"out={tmp_path}/o",
        *DIGITS_RUN,
    ]
    ended = subprocess.run([*command, "trainer.devices=2"], capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stderr
    tar = "shards/mixed.tar"
    assert (tmp_path / "o" / tar).read_bytes() == (digits_run / tar).read_bytes()
    assert "24 ok" in ended.stdout
