"""The main job on real input: what it writes, that it is the same however it was cut, how it ends."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import signal
import sys
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset as wds
from helpers import forked
from helpers.runs import DIGITS_RUN
from helpers.waiting import GUARD
from PIL import Image
from torch import Tensor

import fcs
from fcs.core.denoiser import Guided
from fcs.core.levels import Level
from fcs.core.records import Record
from fcs.engine.process_info import ProcessInfo
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.whole_tar import members_by_key
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
    assert [sample["__key__"] for sample in found] == list(members_by_key(digits_run / "shards" / "mixed.tar"))


def test_files_of_a_run(digits_run: Path, digits_shard: Path) -> None:
    given, made = members_by_key(digits_shard), members_by_key(digits_run / "shards" / "mixed.tar")
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
    given, made = members_by_key(digits_shard), members_by_key(digits_run / "shards" / "mixed.tar")
    changed = 0
    for key, sample in made.items():
        mask, image = picture(given[key]["mask.png"]), picture(given[key]["png"])
        result = picture(sample["png"])
        assert np.array_equal(result[mask == 0], image[mask == 0])
        changed += int((result[mask > 0] != image[mask > 0]).sum())
        facts = json.loads(sample["json"])
        assert facts["input"] == json.loads(given[key]["json"])
        assert set(facts["fcs"]) == {"seed", "size", "nfe", "residual", "scores", "model", "fingerprint"}
    assert changed > 0


def test_a_record_alone_from_its_seed(digits_run: Path, digits_shard: Path) -> None:
    given, made = members_by_key(digits_shard), members_by_key(digits_run / "shards" / "mixed.tar")
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


def test_a_dry_run_says_what_was_deleted_by_hand(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(digits_run, tmp_path / "out")
    arguments = ["--config", "digits_inpaint", f"out={out}", *DIGITS_RUN, "--dry-run"]
    assert main(arguments) == 0
    assert f"out        {out} (complete: nothing is left to do)" in capsys.readouterr().out.splitlines()
    (out / "metrics" / "mixed.parquet").unlink()
    assert main(arguments) == 0
    told = "1 shard not as committed, to be computed again: mixed"
    assert f"out        {out} (continues; {told})" in capsys.readouterr().out.splitlines()


def test_a_dry_run_says_whether_anything_is_left(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, state in (("data.workers=1", "complete: nothing is left to do"), ("data.retry_failed=true", "continues")):
        assert main(["--config", "digits_inpaint", f"out={digits_run}", *DIGITS_RUN, "--dry-run", more]) == 0
        assert f"{digits_run} ({state})" in capsys.readouterr().out


def signalled(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Let SIGTERM come while the denoiser is called for that time."""
    call, calls = Guided.__call__, itertools.count(1)

    def interrupted(self: Guided, x: Tensor, level: Level) -> Tensor:
        if next(calls) == at:
            signal.raise_signal(signal.SIGTERM)
        return call(self, x, level)

    monkeypatch.setattr(Guided, "__call__", interrupted)


def test_interrupted_run_continues_to_the_same_bytes(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", "digits_inpaint", f"out={tmp_path}", f"trainer.grace={GUARD}", *DIGITS_RUN]
    with monkeypatch.context() as patch:
        signalled(patch, at=8)  # within the second of three batches
        assert main(arguments) == 75
    assert "SIGTERM" in capsys.readouterr().err
    assert len(list(tmp_path.glob("parts/mixed/0*"))) == 2
    assert not (tmp_path / "shards" / "mixed.json").exists()
    assert main(arguments) == 0
    made, whole = (out / "shards" / "mixed.tar" for out in (tmp_path, digits_run))
    assert made.read_bytes() == whole.read_bytes()


def test_batch_size_is_free_on_continuation(digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--config", "digits_inpaint", f"out={tmp_path}", f"trainer.grace={GUARD}", *DIGITS_RUN]
    with monkeypatch.context() as patch:
        signalled(patch, at=1)
        assert main(arguments) == 75
    assert main([*arguments, "data.batch_size=5", "data.workers=0"]) == 0
    made, whole = (members_by_key(out / "shards" / "mixed.tar") for out in (tmp_path, digits_run))
    assert list(made) == list(whole)
    processes = [json.loads(path.read_text())["done"] for path in (tmp_path / "workers").iterdir()]
    assert sum(processes) == 24
    pairs = [(picture(made[key]["png"]), picture(whole[key]["png"])) for key in whole]
    assert all(np.array_equal(*pair) for pair in pairs[:8])  # the first batch was not made again
    assert all(np.median(np.abs(a.astype(int) - b)) <= 1 for a, b in pairs[8:])


def test_failures_are_rows(tmp_path: Path, digits_shard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"__key__": key, **members} for key, members in list(members_by_key(digits_shard).items())[:3]]
    records[1]["png"] = b"no picture"
    del records[2]["mask.png"]
    write_shard(tmp_path / "in.tar", records)
    arguments = ["--config", "digits_inpaint", f"data.shards={tmp_path}/in.tar", f"out={tmp_path}/o", "steps=1"]
    assert main(arguments) == 3
    rows = pq.read_table(tmp_path / "o" / "metrics" / "in.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["ok", "failed", "failed"]
    assert rows[1]["error"].startswith("bad_image")
    assert rows[2]["error"].startswith("missing_mask")
    assert list(members_by_key(tmp_path / "o" / "shards" / "in.tar")) == [records[0]["__key__"]]
    said = capsys.readouterr()
    assert "1 ok, 2 failed" in said.out
    assert f"previews: {tmp_path}/o/previews" in said.out
    assert "bad_image" in said.err
    shutil.rmtree(tmp_path / "o" / "previews")  # as with previews.max=0
    assert main(arguments) == 3
    assert "previews" not in capsys.readouterr().out


def test_failed_records_are_tried_again(tmp_path: Path, digits_shard: Path) -> None:
    records = [{"__key__": key, **members} for key, members in list(members_by_key(digits_shard).items())[:4]]
    del records[1]["png"]
    write_shard(tmp_path / "in.tar", records)
    arguments = ["--config", "digits_inpaint", f"data.shards={tmp_path}/in.tar", f"out={tmp_path}/o", "steps=1"]
    assert main(arguments) == 3
    first = members_by_key(tmp_path / "o" / "shards" / "in.tar")
    assert main([*arguments, "data.retry_failed=true"]) == 3
    commit = json.loads((tmp_path / "o" / "shards" / "in.json").read_text())
    assert commit["attempt"] == 2
    assert commit["counts"] == {"records": 4, "ok": 3, "failed": 1}
    assert members_by_key(tmp_path / "o" / "shards" / "in.tar") == first


def test_one_rank_of_a_launch_retries(tmp_path: Path, digits_shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{"__key__": key, **members} for key, members in list(members_by_key(digits_shard).items())[:2]]
    del records[1]["png"]
    write_shard(tmp_path / "in.tar", records)
    arguments = ["--config", "digits_inpaint", f"data.shards={tmp_path}/in.tar", f"out={tmp_path}/o", "steps=1"]
    assert main(arguments) == 3
    for rank, attempt in ((1, 1), (0, 2)):
        monkeypatch.setattr(ProcessInfo, "here", lambda rank=rank: ProcessInfo(rank, 2, rank, 2, "torchrun"))
        assert main([*arguments, "data.retry_failed=true"]) == 3
        assert json.loads((tmp_path / "o" / "shards" / "in.json").read_text())["attempt"] == attempt


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
    key, record = next(iter(members_by_key(digits_shard).items()))
    for number in range(20):
        write_shard(tmp_path / f"{number:02d}.tar", [{**record, "__key__": key}])
    all_open, read = threading.Barrier(20), ShardReader.record

    def together(reader: ShardReader, number: int) -> Record:
        if threading.current_thread().name.startswith("read"):  # not the look at the first records before the run
            all_open.wait(GUARD)
        return read(reader, number)

    monkeypatch.setattr(ShardReader, "record", together)
    shards = [f"data.shards={tmp_path}/*.tar", "data.workers=20", "data.batch_size=1", "steps=1", "sampler=ddim"]
    assert main(["--config", "digits_inpaint", f"out={tmp_path}/o", *shards]) == 0


def test_own_seed_wins(tmp_path: Path, digits_shard: Path) -> None:
    record = next(iter(members_by_key(digits_shard).values()))
    twins = [{**record, "__key__": key, "json": json.dumps({"seed": 5}).encode()} for key in ("a", "b")]
    write_shard(tmp_path / "in.tar", twins)
    arguments = ["--config", "digits_inpaint", f"data.shards={tmp_path}/in.tar", f"out={tmp_path}/o", "steps=2"]
    assert main(arguments) == 0
    made = members_by_key(tmp_path / "o" / "shards" / "in.tar")
    assert made["a"]["png"] == made["b"]["png"]
    rows = pq.read_table(tmp_path / "o" / "metrics" / "in.parquet").to_pylist()
    assert [row["seed"] for row in rows] == [5, 5]


@dataclass(frozen=True)
class Run:
    """What a run gave: its rows, and the results of each record by suffix."""

    rows: list[dict[str, Any]]
    samples: dict[str, dict[str, bytes]]

    @property
    def pictures(self) -> np.ndarray:
        return np.array([picture(sample["png"]) for sample in self.samples.values()]).astype(int)

    @property
    def formats(self) -> dict[str, str | None]:
        """Of the pictures, by suffix."""
        found = {suffix: data for one in self.samples.values() for suffix, data in one.items() if suffix != "json"}
        return {suffix: Image.open(io.BytesIO(data)).format for suffix, data in found.items()}

    @property
    def calls(self) -> set[int]:
        return {row["nfe"] for row in self.rows}


def three(out: Path, *settings: str) -> Run:
    """The first three digits in two steps."""
    arguments = ["--config", "digits_inpaint", f"out={out}", "steps=2", "data.limit=3", "data.batch_size=3"]
    assert main([*arguments, *settings]) == 0
    rows = pq.read_table(out / "metrics" / "mixed.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * 3
    return Run(rows, members_by_key(out / "shards" / "mixed.tar"))


def differs(run: Run, plain: Run) -> bool:
    return not np.array_equal(run.pictures, plain.pictures)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return three(tmp_path_factory.mktemp("plain"))


def exact(run: Run) -> int:
    """How many pictures keep every pixel that was given: their PSNR there is infinite, and null."""
    return sum(row["psnr_kept"] is None for row in run.rows)


def of_that_model(run: Run, plain: Run) -> bool:
    return all(json.loads(one["json"])["fcs"]["model"] == "digits-16-flow" for one in run.samples.values())


def with_inputs(run: Run, plain: Run) -> bool:
    shard = members_by_key(Path(fcs.__file__).parent / "samples" / "digits" / "mixed.tar")
    given = {key: {f"input.{suffix}": data for suffix, data in members.items()} for key, members in shard.items()}
    kept = {key: {name: one[name] for name in one if name != "json"} for key, one in run.samples.items()}
    return all(one == {"png": plain.samples[key]["png"]} | given[key] for key, one in kept.items())


CHOICES: dict[str, Callable[[Run, Run], bool]] = {
    "sampler=replacement": lambda run, plain: (run.calls, plain.calls) == ({2}, {6}),
    "sampler.direction=gradient": differs,
    "sampler.direction=local": differs,
    "levels=paper": differs,
    "model.name=digits-16-flow": of_that_model,
    "format=jpg": lambda run, plain: run.formats == {"jpg": "JPEG"},
    "format=webp": lambda run, plain: run.formats == {"webp": "WEBP"},
    "task.paste=false": lambda run, plain: (exact(plain), exact(run)) == (3, 0),
    "copy_inputs=true": with_inputs,
    "trainer.precision=bf16": differs,
}


@pytest.mark.parametrize("setting", CHOICES)
def test_choices(setting: str, plain: Run, tmp_path: Path) -> None:
    assert CHOICES[setting](three(tmp_path, setting), plain)


def test_superresolution_runs(tmp_path: Path) -> None:
    few = ["data.limit=4", "data.batch_size=4", "steps=3"]
    assert main(["--config", "digits_superres", f"out={tmp_path}/o", *few]) == 0
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
    made = members_by_key(tmp_path / "o" / "shards" / "in.tar")
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
    ended = forked.run([*command, "trainer.devices=2"])
    assert ended.returncode == 0, ended.stderr
    tar = "shards/mixed.tar"
    assert (tmp_path / "o" / tar).read_bytes() == (digits_run / tar).read_bytes()
    assert "24 ok" in ended.stdout
