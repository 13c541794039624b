"""Patterns that also match what the run itself writes are refused before it writes anything."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import fsspec
import pytest
from helpers.parts import tree

from fcs.core.errors import UsageError
from fcs.engine.preflight import configure
from fcs.shards.input.sources import resolve
from fcs.shards.ledger.layout import features_file, metrics_file, tar_file
from fcs.shards.ledger.own_results import check_own_results
from fcs.shards.store.open_store import open_store
from fcs.tools.cli.predict import main

INPUTS = (
    "in/a.tar",
    "in/deep/b.tar",
    "other/c.tar",
    "tables/t.parquet",
    "tables/1/2/u.parquet",
    "runs/old/shards/a.tar",
    "runs/1/e.tar",
    "runs/[1]/e.tar",
)
OWN = {  # inputs and out
    "in/**/*.tar": "in/x",
    "in/**": "in",
    "**/a.tar": "runs/x",
    "{in,other}/**/*.tar": "other/x",
    "in/{a,**/b}.tar": "in/x",
    "runs/{[1],o?d}/**/*.tar": "runs/old",
    "runs/*/shards/*.tar": "runs/x",
    "runs/*/shards/?.tar": "runs/x",
    "tables/**/*.parquet": "tables/x",
    "tables/**/*": "tables/x",
    "t*/*/*/*.parquet": "tables",
}
OTHERS = {
    "in/*.tar": "in",
    "in/**/[ab].tar": "runs/x",
    "in/{a,deep/b}.tar": "in/x",
    "in/deep/b.tar": "in",
    "in/**/b.tar": "runs/in/x",
    "in*/**/*.tar": "runs/x",
    "runs/old/shards/*.tar": "runs/x",
    "runs/old/**/*.tar": "runs/older",
    "runs/[1]/**/*.tar": "runs/1",
    "tables/*.parquet": "tables",
}


def checked(pattern: str | list[str], out: str) -> None:
    check_own_results(open_store(out), pattern, resolve(pattern), ["clip"])


def written(pattern: str, out: str) -> list[str]:
    """The inputs of a second start: the run has written all of its files."""
    store = open_store(out)
    for stem in [source.stem for source in resolve(pattern)]:
        for name in (tar_file(stem), metrics_file(stem), features_file("clip", stem)):
            store.replace(name, b"")
    return [source.url for source in resolve(pattern)]


@pytest.fixture
def top(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What all names begin with: nothing in a folder, the URL of a store in memory."""
    monkeypatch.chdir(tmp_path)
    top = f"memory://{uuid.uuid4().hex}/" if request.param else ""
    for name in INPUTS:
        with fsspec.open(f"{top}{name}", "wb", auto_mkdir=True) as file:
            file.write(b"x")
    return top


both = pytest.mark.parametrize("top", [False, True], ids=["folder", "store"], indirect=True)


@both
@pytest.mark.parametrize(("pattern", "out"), OWN.items(), ids=OWN)
def test_a_pattern_that_matches_results_is_refused(top: str, pattern: str, out: str) -> None:
    pattern, out = f"{top}{pattern}", f"{top}{out}"
    before = [source.url for source in resolve(pattern)]
    with pytest.raises(UsageError) as raised:
        checked(pattern, out)
    assert str(raised.value).startswith(f"data.shards={pattern}: expected shards outside out={out}, or another out; ")
    assert f"own results ({out}/" in str(raised.value)
    with pytest.raises(UsageError):
        checked([pattern], out)
    assert written(pattern, out) != before  # the refusal is right


@both
@pytest.mark.parametrize(("pattern", "out"), OTHERS.items(), ids=OTHERS)
def test_other_patterns_are_not(top: str, pattern: str, out: str) -> None:
    pattern, out = f"{top}{pattern}", f"{top}{out}"
    before = [source.url for source in resolve(pattern)]
    checked(pattern, out)
    assert written(pattern, out) == before
    checked(pattern, out)


@pytest.mark.parametrize("top", [False], indirect=True)
def test_spellings_of_a_folder(top: str) -> None:
    os.symlink("in", "link")
    same = {
        "link/**/*.tar": "in/x",
        "in/**/*.tar": "link/x",
        "link/*/**/*.tar": "link/x",
        "./in/../in/**": "./link/./x",
    }
    for pattern, out in same.items():
        with pytest.raises(UsageError, match="own results"):
            checked(pattern, out)
    os.makedirs("far")
    os.symlink("../far", "in/x")  # globs do not follow it
    checked("in/**/*.tar", "in/x")
    assert written("in/**/*.tar", "in/x") == [source.url for source in resolve("in/**/*.tar")]


@pytest.mark.parametrize("top", [True], indirect=True)
def test_a_folder_and_a_store_do_not_meet(top: str) -> None:
    checked(f"{top}**/*.tar", top.removeprefix("memory:/") + "x")


@pytest.mark.parametrize("top", [False], indirect=True)
def test_the_command_refuses_it_and_writes_nothing(top: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(Path())
    assert main(["-c", "digits_half", "data.shards=in/**/*.tar", "out=in/x"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "fcs-predict: data.shards=in/**/*.tar: expected shards outside out=in/x, or another out; it also matches the "
        "run's own results (in/x/shards/a.tar), and the run could not be continued"
    )
    assert tree(Path()) == before
    configure("digits_half", "data.shards=[in/a.tar,in/deep/b.tar]", "out=in/x")
