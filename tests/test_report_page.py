"""The report's page: nothing from outside, nothing that data could run, and the pictures and numbers of the run."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers.objects import Objects
from helpers.reports import HOSTILE, made, write_run
from PIL import Image

from fcs.shards.ledger.process_stats import ProcessStats
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore
from fcs.shards.store.remote import RemoteStore
from fcs.tools.cli.report import main
from fcs.tools.report.charts import histogram, round_values
from fcs.tools.report.finished_run import read_finished_run
from fcs.tools.report.html_page import html_page
from fcs.tools.report.number_format import number, signed_number
from fcs.tools.report.record_pictures import read_pictures
from fcs.tools.report.record_selection import select_records
from fcs.tools.report.run_task import run_task
from fcs.tools.report.score_statistics import paired_difference
from fcs.tools.report.throughput import throughput_curve

KEYS = [f"k{i:02d}" for i in range(16)]


class Found(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.within: dict[str, list[str]] = {"style": [], "script": []}
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data: str) -> None:
        self.within.get(self.inside, self.text).append(data)

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def render(*outs: Path | Store) -> Found:
    stores = [LocalStore(out) if isinstance(out, Path) else out for out in outs]
    runs = [read_finished_run(store, f"run{i}") for i, store in enumerate(stores)]
    return Found(html_page(runs, [{"complete": True}] * len(runs)))


def array(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 records, the third of which failed."""
    folder = tmp_path_factory.mktemp("run")
    write_run(folder / "out", folder / "in.tar", KEYS, fails=lambda i: "bad_image: <b>x</b>" if i == 2 else None)
    return folder / "out"


def test_nothing_from_outside(run: Path) -> None:
    found = render(run)
    for tag, attributes in found.elements:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/webp;base64,", "#")), (tag, name)
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
    assert not {tag for tag, _ in found.elements} & {"link", "iframe", "object", "embed", "base"}


def test_the_policy_lets_only_our_script_and_style_run(run: Path) -> None:
    found = render(run)
    (policy,) = [meta["content"] for meta in found.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    for kind in ("style", "script"):
        text = "".join(found.within[kind])
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert len(found.all(kind)) == 1
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_failures_count_before_their_shard_is_committed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(
        tmp_path / "out", tmp_path / "in.tar", KEYS, fails=lambda i: f"bad_image: {i}" if i != 5 else None, stop=2
    )
    assert main([str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert {("ok", "1"), ("failed", "7")} <= {tuple(line.split()) for line in said.out.splitlines()}
    assert "1 ok and 7 failed records are in shards that are not committed yet" in said.err
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["in_parts"] == {"ok": 1, "failed": 7}
    found = render(tmp_path / "out")
    assert "1 records done, 7 failed" in found.words
    assert "8 of these records are in shards that are not committed yet" in found.words
    assert "bad_image 7" in found.words
    assert main([str(tmp_path / "out"), "--markdown"]) == 0
    assert "| out | 1 | 7 |" in capsys.readouterr().out


def test_an_infinite_psnr_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def scores(i: int) -> dict[str, float | None]:
        """Kept pixels equal the reference's, the others do too in half of the records; the last has no kept ones."""
        kept = {"psnr_kept": None, "ssim_kept": None if i == 15 else 1.0}
        return {"psnr": None if i % 2 else 20.0, "ssim": 0.5, **kept}

    write_run(tmp_path / "out", tmp_path / "in.tar", KEYS, scores=scores)
    assert main([str(tmp_path / "out"), "--markdown"]) == 0
    sentence = "PSNR, kept: infinite for 15 of 16 records, since these pixels equal the reference's."
    assert sentence in capsys.readouterr().out
    assert sentence in render(tmp_path / "out").words
    assert main([str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^psnr_kept +infinite \(15\)$", said, re.MULTILINE)
    assert re.search(r"^psnr +20.0000 \(8\), infinite \(8\)$", said, re.MULTILINE)
    metrics = json.loads((tmp_path / "out" / "summary.json").read_text())["metrics"]
    assert metrics["psnr_kept"] == {"mean": None, "n": 0, "low": None, "high": None, "infinite": 15}
    assert "infinite" not in metrics["ssim_kept"]


def test_the_sample_is_such_a_page() -> None:
    sample = Path(__file__).parents[1] / "docs" / "sample-report.html"
    assert sample.stat().st_size < 3e6
    found = Found(sample.read_text())
    assert {"newton", "local", "replacement"} <= {image.get("data-label") for image in found.all("img")}
    assert not re.search(r"https?://", sample.read_text())


def test_pictures_are_those_of_the_records(run: Path) -> None:
    store = read_finished_run(LocalStore(run), "run")
    seen = read_pictures(store, [("in", "k05"), ("in", "k02"), ("in", "nobody")])
    one = made(5)
    assert set(seen) == {("in", "k05"), ("in", "k02")}
    here = seen["in", "k05"]
    assert here.given is not None
    assert here.mask is not None
    assert here.reference is not None
    assert (array(here.results["result"].uri) == one.result).all()
    assert (array(here.reference.uri) == one.image).all()
    assert (array(here.mask.uri)[..., 0] == one.mask).all()
    assert (array(here.given.uri)[:, :8] == one.image[:, :8]).all()
    assert (array(here.given.uri)[:, 8:] == 128).all()
    assert (here.prompt, here.model, here.missing) == ("prompt of k05", "some-model", "")
    failed = seen["in", "k02"]
    assert failed.given is not None
    assert not failed.results


def test_large_pictures_become_small_ones(tmp_path: Path) -> None:
    write_run(tmp_path / "out", tmp_path / "in.tar", ["a"], side=512)
    seen = read_pictures(read_finished_run(LocalStore(tmp_path / "out"), "run"), [("in", "a")])["in", "a"]
    assert seen.given is not None
    assert array(seen.results["result"].uri).shape == (256, 256, 3)
    assert (seen.given.width, seen.given.height) == (512, 512)


def test_what_data_says_is_only_text(tmp_path: Path) -> None:
    keys = ["a", HOSTILE, "c"]
    failing = f"{HOSTILE}: {HOSTILE}"
    settings = {"data.prompt": HOSTILE, "sampler": HOSTILE, HOSTILE: HOSTILE}
    write_run(
        tmp_path / "out", tmp_path / "in.tar", keys, fails=lambda i: failing if i == 2 else None, settings=settings
    )
    rows = read_finished_run(LocalStore(tmp_path / "out"), HOSTILE)
    found = Found(html_page([rows, rows], [{"complete": True}] * 2))
    assert len(found.all("script")) == 1
    assert all(image.get("onerror") is None for image in found.all("img"))
    assert HOSTILE in found.words
    assert "prompt of " + HOSTILE in found.words
    assert failing.partition(": ")[2] in found.words


def test_inputs_that_are_gone_or_changed_are_said_to_be(tmp_path: Path) -> None:
    write_run(tmp_path / "out", tmp_path / "in.tar", KEYS[:3])
    (tmp_path / "in.tar").touch()
    found = render(tmp_path / "out")
    assert "No input shown: the input shard has changed since the run." in found.words
    (tmp_path / "in.tar").unlink()
    found = render(tmp_path / "out")
    assert "No input shown: the input shard is gone" in found.words
    assert {image["alt"] for image in found.all("img")} == {"result", ""}  # and the viewer's


def test_copies_stand_in_for_inputs(tmp_path: Path) -> None:
    write_run(tmp_path / "out", tmp_path / "in.tar", KEYS[:2], copies=True)
    (tmp_path / "in.tar").unlink()
    seen = read_pictures(read_finished_run(LocalStore(tmp_path / "out"), "run"), [("in", "k01")])["in", "k01"]
    assert seen.reference is not None
    assert (array(seen.reference.uri) == made(1).image).all()
    assert list(seen.results) == ["result"]


def test_only_committed_shards_are_read(tmp_path: Path) -> None:
    write_run(tmp_path / "out", tmp_path / "in.tar", KEYS, stop=2)
    assert read_finished_run(LocalStore(tmp_path / "out"), "run").rows.num_rows == 0
    assert "No record has a score yet." in render(tmp_path / "out").words
    assert main([str(tmp_path / "out")]) == 0


def test_a_run_in_which_all_failed(tmp_path: Path) -> None:
    write_run(tmp_path / "out", tmp_path / "in.tar", KEYS[:3], fails=lambda i: "not_finite: x", scores=lambda i: {})
    found = render(tmp_path / "out")
    assert "0 records done, 3 failed" in found.words.replace(" ,", ",")
    assert "not_finite" in found.words


def test_best_median_and_worst(run: Path) -> None:
    found = {
        (reason.kind, reason.score, reason.rank): one.key[1]
        for one in select_records([read_finished_run(LocalStore(run), "run")], 40)
        for reason in one.reasons
    }
    good = [key for key in KEYS if key != "k02"]
    for score, order in (("psnr", good[::-1]), ("ssim", good[::-1]), ("residual", good)):
        assert [found["best", score, rank] for rank in range(3)] == order[:3]
        assert [found["worst", score, rank] for rank in range(3)] == order[:-4:-1]
        assert found["typical", score, 0] == good[7]
    assert sum(kind == "lot" for kind, _, _ in found) == 10
    assert len(select_records([read_finished_run(LocalStore(run), "run")], 5)) == 5
    assert select_records([read_finished_run(LocalStore(run), "run")], 0) == []


def test_runs_are_compared_record_by_record(run: Path, tmp_path: Path) -> None:
    data = run.parent / "in.tar"

    def scores(index: int) -> dict[str, float | None]:
        return {"psnr": index + 1.5, "ssim": 0.5 + index / 100, "lpips": 0.1}

    write_run(tmp_path / "out", data, KEYS, scores=scores, settings={"sampler": "fcs.samplers.DPS", "steps": 50})
    runs = [read_finished_run(LocalStore(run), "one"), read_finished_run(LocalStore(tmp_path / "out"), "two")]
    found = paired_difference(runs[1], runs[0], "psnr")
    assert found is not None
    assert (found.mean.mean, found.mean.low, found.mean.high, found.mean.n) == (1.5, 1.5, 1.5, 15)
    assert found.better == 1
    assert paired_difference(runs[1], runs[0], "lpips") is None
    words = render(run, tmp_path / "out").words
    differ = words[words.index("What differs") : words.index("Means over")]
    for text in ("sampler newton dps", "steps 20 50"):
        assert text in differ
    assert "data.resize" not in differ
    assert "better in 100 % of 15" in words


def test_the_same_input_is_shown_once(run: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "out", run.parent / "in.tar", KEYS)
    labels = [image.get("data-label") for image in render(run, tmp_path / "out").all("img") if image.get("data-label")]
    assert labels.count("input") == labels.count("reference") == len(KEYS)
    assert labels.count("run0") == 15


def test_an_object_store_gives_the_same_page(tmp_path: Path) -> None:
    store = RemoteStore(Objects(), "bucket/run", "s3://bucket/run", True)
    write_run(store, tmp_path / "in.tar", KEYS)
    write_run(tmp_path / "out", tmp_path / "in.tar", KEYS)
    assert [i.get("src") for i in render(store).all("img")] == [
        i.get("src") for i in render(tmp_path / "out").all("img")
    ]


def test_no_code_is_imported_because_a_run_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run_task({"task": "trap.Task"}) is None
    assert run_task({"task": "fcs.tasks.Restore", "task.operator": "trap.Operator"}) is None
    assert run_task({"task": "fcs.tasks.Restore", "task.operator": "fcs.nothing.Here"}) is None
    task = run_task({"task": "fcs.tasks.Superres", "task.scale": 2, "task.degrade": True})
    assert type(task).__name__ == "Superres"


def test_the_measurement_is_the_input_of_a_restoration(tmp_path: Path) -> None:
    settings = {"task": "fcs.tasks.Superres", "task.scale": 2, "task.degrade": True, "task.filter": "average"}
    write_run(tmp_path / "out", tmp_path / "in.tar", ["a"], settings=settings)
    seen = read_pictures(read_finished_run(LocalStore(tmp_path / "out"), "run"), [("in", "a")])["in", "a"]
    assert seen.given is not None
    assert seen.mask is None
    assert array(seen.given.uri).shape == (8, 8, 3)
    assert np.abs(array(seen.given.uri).astype(int) - made(0).image[::2, ::2]).max() <= 1


def test_markdown(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a|b", run.parent / "in.tar", KEYS, scores=lambda i: {"psnr": i + 2.0})
    assert main([str(run), str(tmp_path / "a|b"), "--to", str(tmp_path / "to"), "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| run | records | failed | PSNR (dB) |")
    assert lines[2].startswith("| out | 15 | 1 | 7.87 (5.")
    assert lines[3].startswith("| a\\|b | 16 | 0 | 9.50 (")
    assert lines[-1].startswith("| a\\|b | +2 |")
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[:4]} == {9}


def test_the_number_of_pictures_can_be_chosen(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(run, out)
    for given, count in ((["--records", "0"], 0), (["--records", "3"], 3), ([], 15)):
        assert main([str(out), *given]) == 0
        assert (out / "report.html").read_text().count('<article class="card">') == count


def test_numbers_for_people() -> None:
    assert [number(value) for value in (0, 20.0149, 0.00012345, 12345.6, -6.35564e8, 1e9)] == [
        "0",
        "20.01",
        "0.00012",
        "12\u202f346",
        "\u2212635.6 M",
        "1 G",
    ]
    assert [signed_number(value) for value in (1.5, -1.5, 0)] == ["+1.5", "\u22121.5", "0"]
    assert round_values(0.3, 2.2, 4) == [0.5, 1, 1.5, 2]


def test_a_histogram_counts_every_record_once() -> None:
    values = np.random.default_rng(0).normal(size=500)
    chart = histogram({0: values}, "", "")
    assert chart is not None
    assert sum(int(bar.tooltip.rpartition(" ")[2]) for bar in chart.bars) == 500
    assert histogram({0: np.ones(5)}, "", "") is None


def test_pictures_that_nothing_compresses_still_fit(tmp_path: Path) -> None:
    write_run(tmp_path / "out", tmp_path / "in.tar", [f"{i:02d}" for i in range(60)], side=512, kinds=6, batch=60)
    assert main([str(tmp_path / "out")]) == 0
    assert 3e6 < (tmp_path / "out" / "report.html").stat().st_size < 15e6


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_records(count: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if count > 1000 and "slow" not in request.config.getoption("-m"):
        pytest.skip("takes a minute: pytest -m slow")
    draw = np.random.default_rng(0).normal(size=(count, 6))

    def scores(index: int) -> dict[str, float | None]:
        return {f"score_{i}": float(value) for i, value in enumerate(draw[index])}

    keys = [f"{i:06d}" for i in range(count)]
    write_run(tmp_path / "out", tmp_path / "in.tar", keys, scores=scores, side=64, kinds=20, batch=100)
    assert main([str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").stat().st_size < 15e6


def test_the_pace_adds_up_to_the_records(tmp_path: Path) -> None:
    write_run(tmp_path / "out", tmp_path / "in.tar", KEYS, batch=1)
    run = read_finished_run(LocalStore(tmp_path / "out"), "run")
    (worker,) = run.workers
    assert [done for _, done in worker["history"]] == list(range(1, 17))
    worker = {**worker, "history": [[i + 1.0, i + 1] for i in range(16)], "started": 100.0, "updated": 116.0}
    later = {**worker, "started": 1100.0, "updated": 1116.0}  # nobody was at work in between
    edges, rates = throughput_curve([worker, later])
    assert edges[-1] == pytest.approx(32)
    assert np.sum(np.diff(edges) * (rates[1:] + rates[:-1]) / 2) == pytest.approx(32)
    assert rates == pytest.approx(1.0)


def test_a_process_forgets_evenly() -> None:
    worker = ProcessStats(
        RemoteStore(Objects(), "bucket", "s3://bucket", True),
        {"id": "0" * 8, "host": "h", "pid": 1, "job": "", "task": "", "array": 0},
    )
    for _ in range(1000):
        worker.count([Row(0, "k")])
    counts = [done for _, done in worker.history]
    assert 60 <= len(counts) < 120
    assert set(np.diff(counts)) == {counts[0]} == {16}


def test_what_is_said_of_sets_is_on_the_page(run: Path) -> None:
    features = {"n": 15, "reference_n": 14, "fid": 12.5, "fid_dimensions": 9, "kid": 0.25, "kid_error": 0.03}
    energy = {"runs": ["a", "b"], "feature": "clip", "mean": 0.5, "low": 0.4, "high": 0.6, "n": 15, "diversity": 0.3}
    summary = {"complete": True, "features": {"clip": {**features, "notes": ["too <few> for FID"]}}}
    words = Found(html_page([read_finished_run(LocalStore(run), "run")], [summary], [energy])).words
    assert "clip run 12.5 0.25 ± 0.03 15 against 14" in words
    assert "clip, run: too <few> for FID" in words
    assert "clip a, b 0.5 (0.4 to 0.6) 0.3 15" in words
