"""The pinned run: ``run.json``, on which every process of a run must agree, now and after any restart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fcs.core.errors import UsageError, short
from fcs.shards.input.sources import KEY, Source
from fcs.shards.ledger.layout import FEATURES, METRICS, PARTS, PREVIEWS, RUN, SHARDS
from fcs.shards.ledger.run_file import names_shards, not_ours
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.base import Store

_OF_RESULTS = (SHARDS, METRICS, FEATURES, PREVIEWS, PARTS)


class PinnedOtherwiseError(UsageError):
    """OUT belongs to a run of other settings or inputs."""


def fingerprint(settings: dict[str, Any]) -> str:
    """SHA-256 of the settings' canonical JSON; order of keys and tuple or list make no difference."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def describe(settings: dict[str, Any], sources: Sequence[Source], limit: int | None) -> dict[str, Any]:
    """The content of ``run.json``."""
    return {
        "fingerprint": fingerprint(settings),
        "settings": settings,
        "shards": [asdict(source) for source in sources],
        "limit": limit,
    }


def pin(out: Store, run: dict[str, Any]) -> None:
    """Fix the run in ``OUT/run.json``, or check that it is the one that is fixed there.

    Safe for any number of processes at once: the first one's stays, the others are compared with it.

    Raises:
        UsageError: another configuration is pinned, or an input changed since, or OUT is no run's and holds files
            where results would go; nothing is written then.
        StorageError: OUT cannot be written.
    """
    pinned = out.json(RUN)
    if pinned is None and not out.exists(RUN):
        check_free(out)
        if out.create(RUN, to_json(run)):
            return
    pinned = out.json(RUN) if pinned is None else pinned
    if pinned is None or not _is_ours(pinned):
        raise not_ours("out", out)
    _compare(out, pinned, json.loads(json.dumps(run)))


def check_free(out: Store) -> None:
    """Refuse an OUT that is no run's and holds files where results would go.

    Results replace what has their names. That may be the very shards that are to be read: ``OUT/shards/STEM.tar``.

    Raises:
        UsageError: there is one.
    """
    found = next((name for top in _OF_RESULTS for name in out.below(top)), None)
    if found is not None and not out.exists(RUN):  # another process may have begun the run meanwhile
        expected = f"a new folder, or one of a run; without {RUN} in it {out.where(found)} is not a run's"
        raise UsageError.of("out", out, f"{expected}, and could be overwritten")


def _is_ours(pinned: dict[str, Any]) -> bool:
    return names_shards(pinned) and isinstance(pinned.get("settings"), dict)


def read_run(out: Store) -> dict[str, Any]:
    """The pinned run.

    Raises:
        UsageError: OUT has none, or one that is no run's.
    """
    run = out.json(RUN)
    if run is None and not out.exists(RUN):
        raise UsageError.of("out", out, "the folder of a run; there is no run.json")
    if run is None or not _is_ours(run):
        raise not_ours("out", out)
    return run


def _compare(out: Store, pinned: dict[str, Any], given: dict[str, Any]) -> None:
    old, new = _flat(pinned.get("settings")), _flat(given.get("settings"))
    for key in [*new, *(key for key in old if key not in new)]:
        if old.get(key, _ABSENT) != new.get(key, _ABSENT):
            raise _differs(out, key, new.get(key, _ABSENT), old.get(key, _ABSENT))
    _compare_shards(out, pinned.get("shards") or [], given.get("shards") or [])
    if pinned.get("limit") != given.get("limit"):
        raise _differs(out, "data.limit", given.get("limit"), pinned.get("limit"))
    if pinned.get("fingerprint") != given.get("fingerprint"):
        raise _differs(out, "fingerprint", given.get("fingerprint"), pinned.get("fingerprint"))


def _compare_shards(out: Store, pinned: list[dict[str, Any]], given: list[dict[str, Any]]) -> None:
    old, new = ({shard["stem"]: shard for shard in shards} for shards in (pinned, given))
    for stem in [*(s for s in new if s not in old), *(s for s in old if s not in new)]:
        where = "is not in the run that" if stem in new else "is missing; it is in the run that"
        raise PinnedOtherwiseError(f"{KEY}: {stem} {where} {out.where(RUN)} pins ({len(old)} shards); use another out")
    for stem, shard in new.items():
        for name in ("size", "mtime"):
            if old[stem].get(name) != shard.get(name):
                change = f"{name} {old[stem].get(name)} then, {shard.get(name)} now"
                raise PinnedOtherwiseError(f"{KEY}: {shard['url']} changed since {out.where(RUN)} was made ({change})")


_ABSENT = object()  # differs from any value, null too


def _differs(out: Store, key: str, given: object, pinned: object) -> UsageError:
    return PinnedOtherwiseError.of(key, _show(given), f"{_show(pinned)}, as {out.where(RUN)} pins it, or another out")


def _show(value: object) -> str:
    if value is _ABSENT:
        return "(not set)"
    return short(value if isinstance(value, str) and value else json.dumps(value))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix: value} if prefix else {}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat.update(_flat(inner, f"{prefix}.{key}" if prefix else str(key)))
    return flat
