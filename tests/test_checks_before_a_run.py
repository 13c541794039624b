"""What is said before a run, and a run that may begin anew because its first start had a wrong setting."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from helpers.parts import tree
from helpers.tars import pixels, tar

from fcs.core.errors import UsageError
from fcs.engine.first_records import failing_first_records
from fcs.engine.preflight import configure
from fcs.shards.input.decode import Format
from fcs.shards.input.sources import resolve
from fcs.shards.ledger.claims import Claims
from fcs.shards.ledger.layout import commit_file
from fcs.shards.ledger.repin import check_pin, has_only_failed, pin_anew
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.predict import main

LARGE = {f"{key}{end}": pixels(np.full((20, 20), 90, np.uint8)) for key in "abcd" for end in (".png", ".mask.png")}


@pytest.fixture
def shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures with masks that are larger than the model's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.tar").write_bytes(tar(LARGE.items()))
    return tmp_path / "in.tar"


def test_first_records_that_would_fail_are_named_with_what_mends_them(shard: Path) -> None:
    sources = resolve(str(shard))
    (line,) = failing_first_records(sources, Format(1, 16, 16, needs_mask=True))
    assert line.startswith("3 of the first 3 records opened would fail: image_size: 20x20, expected 16x16")
    assert "data.resize=crop" in line
    assert failing_first_records(sources, Format(1, 16, 16, "crop", needs_mask=True)) == []
    shard.write_bytes(tar([("a.png", LARGE["a.png"]), ("b.png", b"broken")]))
    lines = failing_first_records(resolve(str(shard)), Format(1, 20, 20, needs_mask=True))
    assert any("missing_mask" in line and "fcs-pack --mask box" in line for line in lines)


def test_a_run_whose_records_all_failed_is_repeated_with_another_setting(
    shard: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    run = ["-c", "digits_inpaint", "data.shards=in.tar", "out=o", "steps=1", "previews.max=1"]
    assert main([*run, "--dry-run", "--time", "data.resize=crop", "data.batch_size=4"]) == 0
    said = capsys.readouterr()
    assert "s a batch of 4" in said.out
    assert "pictures a second by 1 process" in said.out
    assert "would fail" not in said.err
    assert not Path("o").exists()

    with caplog.at_level(logging.WARNING, "fcs"):
        assert main(run) == 3
        assert "3 of the first 3 records opened would fail: image_size" in caplog.text
        before = tree(Path("o"))
        assert main([*run, "data.resize=crop", "--dry-run"]) == 0
        assert tree(Path("o")) == before
        assert main([*run, "data.resize=crop"]) == 0
    assert "all records failed until now; the run is pinned anew (data.resize=crop" in caplog.text
    capsys.readouterr()
    assert main([*run, "data.resize=pad"]) == 2  # now it has results
    assert "data.resize=pad: expected crop" in capsys.readouterr().err


def test_a_batch_is_timed_of_the_first_shard_that_has_a_record(shard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("0.tar").write_bytes(tar([("a.png", b"broken"), ("a.mask.png", b"broken")]))
    run = ["-c", "digits_inpaint", "out=o", "steps=1", "data.resize=crop", "data.batch_size=4", "--dry-run", "--time"]
    assert main([*run, f"data.shards=[0.tar, {shard}]"]) == 0
    assert "s a batch of 4" in capsys.readouterr().out
    assert main([*run, "data.shards=0.tar"]) == 0
    assert "no batch was timed: no record of the first shards can be read" in capsys.readouterr().out


def test_time_is_told_with_a_dry_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", "digits_inpaint", "--time"]) == 2
    assert "--time: expected --dry-run" in capsys.readouterr().err


def pinned(steps: int) -> dict[str, object]:
    return {"fingerprint": str(steps), "settings": {"steps": steps}, "shards": [], "limit": None}


def commit(out: LocalStore, ok: int) -> None:
    out.create(commit_file("a"), to_json({"counts": {"records": 4, "ok": ok, "failed": 4 - ok}}))


def test_only_what_has_failed_and_nothing_else_gives_way(tmp_path: Path) -> None:
    out = LocalStore(tmp_path)
    pin_anew(out, pinned(1))
    with pytest.raises(UsageError, match="steps=2: expected 1"):  # somebody may be loading a model
        pin_anew(out, pinned(2))
    commit(out, ok=0)
    claims = Claims(out)
    assert claims.acquire("b", "0")
    assert not has_only_failed(out)  # somebody works on it
    claims.close()
    assert has_only_failed(out)
    before = tree(tmp_path)
    check_pin(out, pinned(2))
    assert tree(tmp_path) == before
    out.create("report.html", b"of records that failed")
    pin_anew(out, pinned(2))
    assert out.json("run.json") == pinned(2)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["run.json"]
    commit(out, ok=1)
    with pytest.raises(UsageError, match="steps=3: expected 2"):
        pin_anew(out, pinned(3))
    with pytest.raises(UsageError, match="steps=3: expected 2"):
        check_pin(out, pinned(3))


@pytest.mark.parametrize("name", ["shards/in.tar", "metrics/mine.parquet", "previews/deeper/a.png"])
@pytest.mark.parametrize("flag", ["--dry-run", "--prepare", "data.limit=1"])
def test_a_folder_with_files_that_are_no_runs_is_not_written_into(
    shard: Path, name: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Above all not where the results of a shard would replace the shard itself."""
    there = shard.parent / "o" / name
    there.parent.mkdir(parents=True)
    there.write_bytes(shard.read_bytes())
    given = there if there.suffix == ".tar" else shard
    before = tree(shard.parent)
    assert main(["-c", "digits_inpaint", f"data.shards={given}", "out=o", "data.resize=crop", flag]) == 2
    assert f"without run.json in it o/{name} is not a run's" in capsys.readouterr().err
    assert tree(shard.parent) == before


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["steps=1001"], "steps=1001: expected 1 to 1000"),
        (["model.name=digits-16-flow", "levels=paper"], "levels=paper: expected even for a flow model"),
        (["guidance=2"], "guidance=2.0: expected 1 for a model without prompts"),
        (["sampler=p2l"], "sampler=p2l: expected a sampler for a model without prompts"),
        (["sampler=replacement", "task=superres"], "sampler=replacement: expected a sampler for task=superres"),
        (["task=superres", "task.scale=3"], "task.scale=3: expected a divisor of the model's 16x16 pixels"),
        (["task=layers", "task.prompts=[a,b]"], "task.prompts=.*: expected none for a model without prompts"),
        (["task=style"], "task=style: expected a model of colour pictures"),
        (["model.size=[32,32]"], "model.size=.*: expected .16, 16., which a pixel model keeps"),
        (
            ["model.name=emoji-64", "model.size=[16384,64]", "format=webp"],
            "format=webp: expected png for pictures of more",
        ),
        (["model.name=emoji-64", "model.size=[65,64]"], "model.size=.*: expected multiples of 16"),
        (
            ["model.name=emoji-64", "model.size=[96,64]", "task=superres", "task.scale=5"],
            "task.scale=5: expected a divisor of the model's 64x96 pixels",
        ),
    ],
)
def test_what_small_files_tell_is_said_before_the_model_is_loaded(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        configure("digits_inpaint", f"out={tmp_path}/o", *overrides)


def test_another_style_picture_under_the_same_name_is_another_run(shard: Path) -> None:
    picture = shard.parent / "style.png"
    settings = ("data.shards=in.tar", "out=o", f"task.pictures=[{picture}]")
    with pytest.raises(UsageError, match=r"task\.pictures=.*style\.png: expected a file"):
        configure("emoji_style", *settings)
    picture.write_bytes(LARGE["a.png"])
    run = configure("emoji_style", *settings)
    pin_anew(run.out, run.pinned)
    configure("emoji_style", *settings)
    picture.write_bytes(pixels(np.full((20, 20), 91, np.uint8)))
    with pytest.raises(UsageError, match=r"task\.pictures\.sha256"):
        configure("emoji_style", *settings)


def test_small_files_let_a_model_do_what_it_can(tmp_path: Path) -> None:
    configure("digits_inpaint", f"out={tmp_path}/o", "model.name=digits-16-flow", "steps=1001")
    configure("emoji_inpaint", f"out={tmp_path}/o", "guidance=2", "steps=1000")
