"""What a run is: its settings beside those of others, its size, its cost, what it ran on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from fcs.tools.report.charts import ABSENT, number
from fcs.tools.report.read import FinishedRun

HASH = 12  # letters of a hash that are shown


@dataclass(frozen=True)
class Setting:
    """A key and its value in each run; ``differs`` says whether they are not all the same."""

    key: str
    values: tuple[str, ...]
    differs: bool


def settings(runs: Sequence[FinishedRun]) -> list[Setting]:
    """All settings of all runs, in their order."""
    pinned = [{**run.settings, "data.limit": run.pinned.get("limit"), "shards": _shards(run)} for run in runs]
    keys = dict.fromkeys(key for own in pinned for key in own)
    found = [(key, tuple(plain(own[key], key) if key in own else ABSENT for own in pinned)) for key in keys]
    return [Setting(key, values, len(set(values)) > 1) for key, values in found]


def plain(value: Any, key: str = "") -> str:
    """A setting as a user writes it: a class of ours by its short name."""
    if isinstance(value, str):
        if value.startswith("fcs."):
            return value.rpartition(".")[2].lower()
        return (value[:HASH] if key.endswith("sha256") else value) or '""'
    return json.dumps(value)


def facts(run: FinishedRun, model: str) -> list[tuple[str, str]]:
    """The first things to know of a run: (what, value); ``model`` is the name that its results say."""
    known = run.settings
    found = {
        "model": model or plain(known.get("model.sha256"), "model.sha256"),
        "task": plain(known.get("task")),
        "sampler": plain(known.get("sampler")),
        "levels": plain(known.get("steps")),
        "seed": plain(known.get("seed")),
        "calls a record": _mean(run, "nfe"),
        "seconds a record": _mean(run, "seconds"),
        "shards": f"{len(run.commits)} of {len(run.pinned['shards'])} committed",
        "first records only": plain(run.pinned.get("limit")),
        "device": ", ".join(sorted({str(record.get("card", "")) for record in run.commits.values()})),
        "committed": _days(run),
        "versions": ", ".join(f"{name} {version}" for name, version in _versions(run).items()),
    }
    return [(name, value) for name, value in found.items() if value not in ("", "null")]


def _shards(run: FinishedRun) -> str:
    stems = [shard["stem"] for shard in run.pinned["shards"]]
    return ", ".join(stems) if len(stems) <= 4 else f"{stems[0]} … {stems[-1]} ({len(stems)})"


def _mean(run: FinishedRun, name: str) -> str:
    values = run.good[name].drop_null() if name in run.rows.column_names else []
    return number(float(pc.mean(values).as_py())) if len(values) else ""


def _versions(run: FinishedRun) -> Mapping[str, str]:
    """Of the packages that made the last shard."""
    records = list(run.commits.values())
    return (records[-1].get("versions") or {}) if records else {}


def _days(run: FinishedRun) -> str:
    """The first and the last day on which a shard was committed, UTC."""
    times = [float(record["timings"].get("committed") or 0) for record in run.commits.values()]
    days = [time.strftime("%Y-%m-%d", time.gmtime(moment)) for moment in (min(times), max(times))] if times else []
    return " to ".join(dict.fromkeys(days))
