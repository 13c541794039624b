"""What a run is: its settings next to those of other runs, its size, its cost, its hardware."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from fcs.tools.report.finished_run import FinishedRun
from fcs.tools.report.number_format import DASH, number

HASH_LETTERS = 12  # that are shown


@dataclass(frozen=True)
class Setting:
    """A key and its value in each run; ``differs`` where they are not all the same."""

    key: str
    values: tuple[str, ...]
    differs: bool


def compared_settings(runs: Sequence[FinishedRun]) -> list[Setting]:
    """All settings of all runs, in the order of the files."""
    pinned = [{**run.settings, "data.limit": run.pinned.get("limit"), "shards": _shards(run)} for run in runs]
    keys = dict.fromkeys(key for own in pinned for key in own)
    found = [(key, tuple(setting_text(own[key], key) if key in own else DASH for own in pinned)) for key in keys]
    return [Setting(key, values, len(set(values)) > 1) for key, values in found]


def setting_text(value: Any, key: str = "") -> str:
    """A setting as a user writes it: a class of this package by its short name."""
    if isinstance(value, str):
        if value.startswith("fcs."):
            return value.rpartition(".")[2].lower()
        return (value[:HASH_LETTERS] if key.endswith("sha256") else value) or '""'
    return json.dumps(value)


def run_facts(run: FinishedRun, model: str) -> list[tuple[str, str]]:
    """The most important facts about a run: (name, value). ``model`` is the name in its results."""
    known = run.settings
    found = {
        "model": model or setting_text(known.get("model.sha256"), "model.sha256"),
        "task": setting_text(known.get("task")),
        "sampler": setting_text(known.get("sampler")),
        "levels": setting_text(known.get("steps")),
        "seed": setting_text(known.get("seed")),
        "calls a record": _mean(run, "nfe"),
        "seconds a record": _mean(run, "seconds"),
        "shards": f"{len(run.commits)} of {len(run.pinned['shards'])} committed",
        "first records only": setting_text(run.pinned.get("limit")),
        "device": ", ".join(sorted({str(record.get("card", "")) for record in run.commits.values()})),
        "committed": _days(run),
        "versions": ", ".join(f"{name} {version}" for name, version in _versions(run).items()),
    }
    return [(name, value) for name, value in found.items() if value not in ("", "null")]


def _shards(run: FinishedRun) -> str:
    stems = [shard["stem"] for shard in run.pinned["shards"]]
    return ", ".join(stems) if len(stems) <= 4 else f"{stems[0]} … {stems[-1]} ({len(stems)})"


def _mean(run: FinishedRun, name: str) -> str:
    values = run.succeeded[name].drop_null() if name in run.rows.column_names else []
    return number(float(pc.mean(values).as_py())) if len(values) else ""


def _versions(run: FinishedRun) -> Mapping[str, str]:
    """Versions of the packages that computed the last shard."""
    records = list(run.commits.values())
    return (records[-1].get("versions") or {}) if records else {}


def _days(run: FinishedRun) -> str:
    """The first and the last day on which a shard was committed, UTC."""
    times = [float(record["timings"].get("committed") or 0) for record in run.commits.values()]
    days = [time.strftime("%Y-%m-%d", time.gmtime(moment)) for moment in (min(times), max(times))] if times else []
    return " to ".join(dict.fromkeys(days))
