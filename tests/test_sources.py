"""Which shards patterns name, in which order, and how many records they are said to hold."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fcs.core.errors import UsageError
from fcs.shards.input.sources import listed_sizes, resolve


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "d/00.tar", "d/01.tar", "d/sizes.json", "e/00.tgz", "e/x[1].tar", "e/{y}.tar")
    monkeypatch.chdir(tmp_path)

    def stems(patterns: str | list[str]) -> list[str]:
        return [source.stem for source in resolve(patterns)]

    assert stems("d/*") == ["00", "01"]
    assert stems("d/{01..00}.tar") == ["00", "01"]
    assert stems(["d/01.tar", "d/*.tar", f"{tmp_path}/d/00.tar"]) == ["00", "01"]
    assert stems(["d/*.tar", "e/00.tgz"]) == ["d/00", "d/01", "e/00"]
    assert stems(["e/x[1].tar", "e/{y}.tar"]) == ["x[1]", "{y}"]
    (source,) = resolve("d/00.tar")
    assert (source.url, source.size) == (str(tmp_path / "d/00.tar"), 0)
    assert source.mtime == os.stat("d/00.tar").st_mtime


def test_globs_pass_over_what_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "d/00.tar", "d/._00.tar", "d/.kept/01.tar", ".in/02.tar", ".in/._02.tar")
    monkeypatch.chdir(tmp_path)

    def stems(pattern: str) -> list[str]:
        return [source.stem for source in resolve(pattern)]

    assert stems("d/*.tar") == stems("d/*") == stems("d/**/*.tar") == stems("**/*.tar") == ["00"]
    assert stems("d/._00.tar") == stems("d/._*.tar") == ["._00"]
    assert stems("d/.kept/*.tar") == ["01"]
    assert stems(".in/*.tar") == stems(f"{tmp_path}/.in/*") == stems(".in/../.in/*") == ["02"]


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "00.tar")
    (tmp_path / "01.tar").symlink_to("gone.tar")
    with pytest.raises(UsageError, match=rf"expected existing files; {tmp_path}/01.tar is a link that leads nowhere"):
        resolve(f"{tmp_path}/*.tar")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("d/*.none", "nothing matches"),
        ("d/none.tar", "there is no"),
        ("d/{00,02}.tar", "there is no"),
        ("d", "not a folder"),
        ("d/sizes.json", "a tar file"),
        ("pipe:cat d/00.tar", "never run"),
        ("nosuch://d/00.tar", "a path, glob or URL"),
        ("d/{0..", "a path, glob or URL"),
        ([], "at least one"),
        (["d/00.tar", "d/00.tgz"], "one shard of that name"),
    ],
)
def test_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patterns: str | list[str], expected: str) -> None:
    touch(tmp_path, "d/00.tar", "d/00.tgz", "d/sizes.json")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=expected) as raised:
        resolve(patterns)
    assert str(raised.value).startswith("data.shards=")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["folder [1]", "what?", "a*b", "{x,y}", "{x} [1]", "a{b", "}{[!a]"])
def test_a_folder_is_taken_by_its_very_name_and_the_advice_works(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/a.tar", f"{name}/b.tar", "folder 1/c.tar", "x/d.tar")
    with pytest.raises(UsageError) as raised:
        resolve(f"{tmp_path}/{name}")
    advice = str(raised.value).partition("all in it: ")[2]
    for pattern in (advice, f"{tmp_path}/{name}/*.tar", f"{tmp_path}/{name}/{{a,b}}.tar"):
        assert [source.url for source in resolve(pattern)] == [f"{tmp_path}/{name}/{one}.tar" for one in "ab"], pattern


def test_counts(tmp_path: Path) -> None:
    touch(tmp_path, "d/0.tar", "d/1.tar", "d/2.tar", "e/0.tar", "f/0.tar")
    (tmp_path / "d/sizes.json").write_text(json.dumps({"0.tar": 5, "1.tar": -1, "2.tar": True}))
    (tmp_path / "e/sizes.json").write_text("{")
    assert listed_sizes(resolve(f"{tmp_path}/*/*.tar")) == [5, None, None, None, None]
