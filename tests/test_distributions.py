"""Sets of results: FID, KID and energy scores of finished runs, however many processes and shards they came from."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import webdataset as wds
from helpers import forked, sharing
from helpers.waiting import GUARD

from fcs.core.errors import Interrupted
from fcs.core.intervals import Column, bootstrap_interval, total
from fcs.metrics.distances import FeatureMoments, fid, kid
from fcs.metrics.energy import energy_scores
from fcs.shards.input.whole_tar import members_by_key
from fcs.shards.ledger.leases import Leases
from fcs.shards.ledger.process_stats import ProcessStats
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.predict import main
from fcs.tools.cli.report import main as report
from fcs.tools.report import distributions
from fcs.tools.report.distributions import FeatureSample, energy_scores_over_seeds, feature_distances
from fcs.tools.report.set_scores import distance_rows
from fcs.tools.report.text_tables import summary_lines

COUNTS = (3, 1, 2, 2, 4, 1, 2)
RUN = ["--config", "digits_inpaint", "steps=2", "data.batch_size=2", "data.workers=1", "previews.max=0"]
RUN += ["metrics.features=[digits,random]"]
SUMMARY = {"complete": True, "records": {"ok": 15, "failed": 0}, "metrics": {}}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, digits_shard: Path) -> str:
    """Seven shards of digits with masks, 15 records in all."""
    folder = tmp_path_factory.mktemp("seven")
    records = iter(members_by_key(digits_shard).items())
    for number, count in enumerate(COUNTS):
        with wds.TarWriter(str(folder / f"s{number}.tar"), mtime=0) as tar:
            for key, members in (next(records) for _ in range(count)):
                tar.write({"__key__": key, **members})
    return f"{folder}/*.tar"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, shards: str) -> list[Path]:
    """The same run with two seeds, by one process each."""
    top = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        assert main([*RUN, f"data.shards={shards}", f"seed={seed}", f"out={top}/{seed}"]) == 0
    return [top / "0", top / "1"]


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs here are small; what is computed of them is that of large ones."""
    monkeypatch.setattr(distributions, "FEWEST", 3)


@pytest.mark.slow
def test_seven_shards_in_three_processes_are_as_one(
    runs: list[Path], shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "shared"
    arguments = [*RUN, f"data.shards={shards}", f"out={out}"]
    command = [sys.executable, sharing.__file__, str(out), *arguments]
    children = [forked.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in range(2)]
    monkeypatch.setattr(Leases, "acquire", Leases.acquire)  # so that it is put back
    sharing.together(out)
    assert main(arguments) == 0
    assert [child.wait(timeout=GUARD) for child in children] == [0, 0]
    workers = [json.loads(path.read_text()) for path in (out / "workers").iterdir()]
    assert len(workers) == 3
    assert sum(worker["done"] for worker in workers) == sum(COUNTS)
    alone, shared = (json.loads((where / "summary.json").read_text()) for where in (runs[0], out))
    for name, expected in alone["metrics"].items():
        there = {key: value for key, value in expected.items() if value is not None}
        assert {key: shared["metrics"][name][key] for key in there} == pytest.approx(there, rel=1e-10, abs=1e-10), name
    n = alone["metrics"]["psnr"]["n"]
    mean = sum(worker["scores"]["psnr"]["mean"] * worker["scores"]["psnr"]["n"] for worker in workers) / n
    assert mean == pytest.approx(alone["metrics"]["psnr"]["mean"], rel=1e-10)
    first, second = feature_distances(LocalStore(runs[0])), feature_distances(LocalStore(out))
    for name in ("digits", "random"):
        for kind in ("n", "reference_n", "fid", "kid", "kid_error"):
            assert second[name][kind] == pytest.approx(first[name][kind], rel=1e-10), (name, kind)


def test_a_run_that_was_cut_keeps_the_same_features(
    runs: list[Path], shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, count, batches = [*RUN, f"data.shards={shards}", f"out={tmp_path}"], ProcessStats.count, iter(range(20))

    def cut(self: ProcessStats, rows: Sequence[Row]) -> None:
        count(self, rows)
        if next(batches) == 5:
            raise Interrupted("a signal")

    with monkeypatch.context() as patched:
        patched.setattr(ProcessStats, "count", cut)
        assert main(arguments) == 75
    assert not (tmp_path / "summary.json").exists()
    assert main(arguments) == 0
    kept = [path.relative_to(runs[0]) for path in (runs[0] / "features").rglob("*.parquet")]
    assert len(kept) == 4 * len(COUNTS)
    assert all((tmp_path / name).read_bytes() == (runs[0] / name).read_bytes() for name in kept)


def features(out: Path, name: str) -> np.ndarray:
    tables = [pq.read_table(path) for path in sorted((out / "features" / name).glob("*.parquet"))]
    return np.array([vector for table in tables for vector in table["feature"].to_pylist()], dtype=np.float64)


def test_distances_are_those_of_all_features_at_once(runs: list[Path]) -> None:
    found = feature_distances(LocalStore(runs[0]))
    assert list(found) == ["digits", "random"]
    made, reference = (features(runs[0], name) for name in ("digits", "digits_reference"))
    assert made.shape == reference.shape == (sum(COUNTS), 64)
    assert found["digits"]["fid"] == pytest.approx(
        fid(FeatureMoments.of(made), FeatureMoments.of(reference))[0], rel=1e-10
    )
    assert [found["digits"][name] for name in ("kid", "kid_error")] == pytest.approx(kid(made, reference), rel=1e-10)
    assert found["digits"]["notes"] == ["FID of 15 pictures moves by several percent with the seed"]


def test_another_runs_pictures_as_reference(runs: list[Path], tmp_path: Path, digits_run: Path) -> None:
    whole = feature_distances(LocalStore(runs[0]), LocalStore(runs[1]))
    assert whole["digits"]["fid"] == pytest.approx(feature_distances(LocalStore(runs[0]))["digits"]["fid"], rel=1e-10)
    assert report([str(runs[0]), "--reference", str(digits_run), "--to", str(tmp_path)]) == 2


def test_energy_scores_of_two_seeds(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {one.feature: one for one in energy_scores_over_seeds({"a": LocalStore(runs[0]), "b": LocalStore(runs[1])})}
    assert list(found) == ["digits", "random"]
    rows = [torch.from_numpy(features(out, "digits")) for out in runs]
    expected = energy_scores(torch.stack(rows), torch.from_numpy(features(runs[0], "digits_reference")))
    torch.testing.assert_close(found["digits"].scores, expected)
    assert found["digits"].records[:6] == [*(("s0", i) for i in range(3)), ("s1", 0), ("s2", 0), ("s2", 1)]
    assert report([*map(str, runs), "--to", str(tmp_path)]) == 0
    written = json.loads((tmp_path / "summary.json").read_text())
    assert [entry["feature"] for entry in written["energy"]] == ["digits", "random"]
    assert written["energy"][0] == found["digits"].as_json() | {"runs": ["0", "1"]}
    assert written["runs"]["0"]["features"] == feature_distances(LocalStore(runs[0]))
    said = capsys.readouterr()
    assert "fid digits" in said.out
    assert "energy digits: " in said.out
    assert "FID of 15 pictures moves" in said.err


def test_too_few_pictures_have_no_distances(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributions, "FEWEST", 64)
    found = feature_distances(LocalStore(runs[0]))["digits"]
    assert [found[name] for name in ("n", "reference_n", "fid", "kid", "kid_error")] == [15, 15, None, None, None]
    expected = "no FID and KID: 15 pictures against 15 are too few, expected 64 of each"
    assert found["notes"] == [expected]
    assert {line.split()[-1] for line in summary_lines({"a": SUMMARY | {"features": {"digits": found}}})} >= {"few"}
    (row,) = distance_rows([{"features": {"digits": found}}])
    assert (row.fid, row.kid) == ("too few", "too few")
    nothing = {**found, "reference_n": 0}
    assert distance_rows([{"features": {"digits": nothing}}])[0].fid == "\N{EN DASH}"


def test_a_run_without_features_beside_one_with_some() -> None:
    features = {"digits": {"n": 1, "reference_n": 1, "fid": None, "kid": None, "notes": []}}
    lines = summary_lines({"some": SUMMARY | {"features": features}, "none": SUMMARY})
    assert [line.split()[2:] for line in lines if line.startswith("fid")] == [["too", "few", "-"]]


def test_runs_that_differ_in_more_than_the_seed_have_no_energy(runs: list[Path], digits_run: Path) -> None:
    assert energy_scores_over_seeds({"a": LocalStore(runs[0]), "b": LocalStore(digits_run)}) == []
    assert energy_scores_over_seeds({"a": LocalStore(runs[0])}) == []


def test_a_report_keeps_the_distances_beside_the_means(runs: list[Path]) -> None:
    before = json.loads((runs[0] / "summary.json").read_text())
    assert report([str(runs[0])]) == 0
    after = json.loads((runs[0] / "summary.json").read_text())
    assert after == before | {"features": feature_distances(LocalStore(runs[0]))}


def test_kid_looks_at_pictures_that_are_spread_over_all(monkeypatch: pytest.MonkeyPatch, runs: list[Path]) -> None:
    gathered = FeatureSample(3)
    for piece in np.split(np.arange(20, dtype=np.float16).reshape(20, 1), [1, 7, 8]):
        gathered.add(piece)
    assert np.concatenate(gathered.chosen)[:, 0].tolist() == list(range(0, 20, 3))
    monkeypatch.setattr(distributions, "KID_MOST", 10)
    assert feature_distances(LocalStore(runs[0]))["random"]["notes"][-1].startswith("KID of every 2. picture")


def test_columns_of_pieces_are_those_of_the_whole() -> None:
    values = (1e6 + np.random.default_rng(0).standard_normal(5000)).tolist()
    pieces = [values[i : i + 700] for i in range(0, 5000, 700)]
    merged = total([Column.of(piece) for piece in pieces])
    assert merged.n == 5000
    assert merged.mean == pytest.approx(np.mean(values), rel=1e-14)
    assert merged.squares == pytest.approx(np.var(values) * 5000, rel=1e-8)
    low, high = merged.interval() or (0, 0)
    assert [low, high] == pytest.approx([merged.mean - 0.0277, merged.mean + 0.0277], abs=1e-3)
    few = total([Column.of(piece) for piece in pieces[:2]])
    expected = bootstrap_interval(torch.tensor(values[:1400], dtype=torch.float64), torch.arange(1400))[1:]
    assert few.interval() == pytest.approx(expected, rel=1e-12)
    assert Column.of([1.0]).facts() == {"mean": 1.0, "n": 1, "low": None, "high": None}
    assert Column().facts() == {"mean": None, "n": 0, "low": None, "high": None}
