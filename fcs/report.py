"""What runs gave: the means over their committed shards, one run beside another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fcs.distributions import Energy, distances
from fcs.errors import UsageError
from fcs.shards.committed import is_complete
from fcs.shards.files import to_json
from fcs.shards.layout import SUMMARY
from fcs.shards.local import Local
from fcs.shards.run import read_run
from fcs.shards.store import Store
from fcs.shards.summary import summarize, write_summary

Summary = Mapping[str, Any]


def report(
    outs: Sequence[Store], to: Store | None = None, reference: Store | None = None, energy: Sequence[Energy] = ()
) -> dict[str, Summary]:
    """Merge the metrics of runs, finished or not, and write the summaries.

    Args:
        outs: where they are.
        to: place for one ``summary.json`` of all, ``{runs: {NAME: summary}, energy: [...]}``, and nothing is written
            into the runs; by default each run's own ``summary.json`` is written anew.
        reference: a run whose records' pictures FID and KID compare with; each run's own by default.
        energy: energy scores of the runs, for the place of all.

    Returns:
        The summary of each run by name: the folder's, or where two have one name, its path.

    Raises:
        UsageError: a folder has no pinned run.
        StorageError: something cannot be read or written, or a committed file is missing or damaged.
    """
    names = named(outs)
    for out in outs:
        read_run(out)  # all are looked at before anything is written
    if isinstance(to, Local) and to.root.exists() and not to.root.is_dir():
        raise UsageError.of("--to", to, "a folder; it is a file")
    sets = [distances(out, reference) for out in outs]
    further = [{"features": one} if one else {} for one in sets]
    found = {
        name: _write(out, more) if to is None else {**summarize(out), **more}
        for name, out, more in zip(names, outs, further, strict=True)
    }
    if to is not None:
        to.replace(SUMMARY, to_json({"runs": found, "energy": [one.facts() for one in energy]}))
    return found


def named(outs: Sequence[Store]) -> list[str]:
    """A name for each folder: its own, or its path where several have that name."""
    short = [Path(os.path.abspath(out.root) if isinstance(out, Local) else str(out)).name for out in outs]
    return [name if short.count(name) == 1 else str(out) for name, out in zip(short, outs, strict=True)]


def table(summaries: Mapping[str, Summary]) -> Iterator[str]:
    """Lines of a table: a column for each run, a row for each metric that one of them has."""
    metrics = sorted({name for summary in summaries.values() for name, m in summary["metrics"].items() if m["n"]})
    rows = {
        "": list(summaries),
        "complete": ["yes" if summary["complete"] else "no" for summary in summaries.values()],
        "ok": [str(summary["records"]["ok"]) for summary in summaries.values()],
        "failed": [str(summary["records"]["failed"]) for summary in summaries.values()],
        **{name: [_cell(summary["metrics"].get(name)) for summary in summaries.values()] for name in metrics},
    }
    features = sorted({name for summary in summaries.values() for name in summary.get("features", {})})
    for name in features:
        for kind in ("fid", "kid"):
            found = [summary.get("features", {}).get(name, {}) for summary in summaries.values()]
            rows[f"{kind} {name}"] = [_distance(feature, kind) for feature in found]
    widths = [max(len(row[place]) for row in rows.values()) for place in range(len(summaries))]
    for name, row in rows.items():
        cells = (f"{cell:>{width}s}" for cell, width in zip(row, widths, strict=True))
        yield f"{name:16s}  {'  '.join(cells)}"


def _cell(metric: Mapping[str, Any] | None) -> str:
    """Mean and number of records."""
    return "-" if metric is None or not metric["n"] else f"{metric['mean']:.4f} ({metric['n']})"


def _distance(feature: Mapping[str, Any], kind: str) -> str:
    """A distance, and the error of KID."""
    if feature.get(kind) is None:
        return "-"
    error = feature.get(f"{kind}_error")
    return f"{feature[kind]:.4g}" + ("" if error is None else f" +- {error:.2g}")


def energy_table(energy: Sequence[Energy]) -> Iterator[str]:
    """A line for each group of runs and feature."""
    for facts in (one.facts() for one in energy):
        interval = f"{facts['mean']:.4f} ({facts['low']:.4f} to {facts['high']:.4f})"
        yield f"energy {facts['feature']}: {interval}, {facts['n']} records, {', '.join(facts['runs'])}"


def notes(summaries: Mapping[str, Summary]) -> Iterator[str]:
    """What is to be known of the distances, a line each."""
    for run, summary in summaries.items():
        for name, feature in summary.get("features", {}).items():
            yield from (f"{run}, {name}: {note}" for note in feature["notes"])


def _write(out: Store, further: Mapping[str, Any]) -> Summary:
    while True:
        summary = write_summary(out, further)
        # A run that ended meanwhile has written that it is complete; ours, from before, must not stand over it.
        if summary["complete"] or not _is_complete(out):
            return summary


def _is_complete(out: Store) -> bool:
    run = read_run(out)
    return is_complete(out, [shard["stem"] for shard in run["shards"]], run.get("limit"))
