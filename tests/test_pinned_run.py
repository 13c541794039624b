"""The pinned run: what may change between two starts, and what may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.parts import tree

from fcs.core.errors import UsageError
from fcs.shards.input.sources import Source
from fcs.shards.ledger.pinned_run import describe, fingerprint, pin
from fcs.shards.store.local import LocalStore


def run(
    tmp_path: Path, limit: int | None = None, mtime: float = 1.5, names: str = "ab", **settings: object
) -> dict[str, object]:
    sources = [Source(f"/in/{name}.tar", name, 10, mtime) for name in names]
    return describe({"steps": 20, "sampler": {"direction": "newton", "sizes": (1, 2)}, **settings}, sources, limit)


def test_pin_and_compare(tmp_path: Path) -> None:
    pin(LocalStore(tmp_path), run(tmp_path))
    before = tree(tmp_path)
    pin(LocalStore(tmp_path), run(tmp_path))
    moved = run(tmp_path)
    moved["shards"][0]["url"] = "/elsewhere/a.tar"  # type: ignore[index]
    pin(LocalStore(tmp_path), moved)
    for other, expected in [
        (run(tmp_path, steps=30), r"^steps=30: expected 20, as .*run\.json"),
        (
            run(tmp_path, sampler={"direction": "gradient", "sizes": [1, 2]}),
            r"^sampler.direction=gradient: expected newton",
        ),
        (run(tmp_path, sampler={"sizes": [1, 2]}), r"^sampler.direction=\(not set\): expected newton"),
        (run(tmp_path, extra=1), r"^extra=1: expected \(not set\)"),
        (run(tmp_path, limit=5), r"^data.limit=5: expected null"),
        (run(tmp_path, mtime=2.5), r"^data.shards: /in/a.tar changed since .*mtime 1.5 then, 2.5 now"),
        (run(tmp_path, names="abc"), r"^data.shards: c is not in the run"),
        (run(tmp_path, names="a"), r"^data.shards: b is missing"),
    ]:
        with pytest.raises(UsageError, match=expected):
            pin(LocalStore(tmp_path), other)
    assert tree(tmp_path) == before


def test_two_that_pin_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def late(source: object, target: object) -> None:
        monkeypatch.setattr(os, "link", link)
        pin(LocalStore(tmp_path), run(tmp_path, steps=30))
        link(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(UsageError, match="steps=20: expected 30"):
        pin(LocalStore(tmp_path), run(tmp_path))


def test_fingerprint() -> None:
    assert fingerprint({"a": (1, 2), "b": 1}) == fingerprint({"b": 1, "a": [1, 2]})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    with pytest.raises(ValueError, match="JSON"):
        fingerprint({"a": float("nan")})
