"""What runs gave, written beside their results: summaries of the committed shards, and the page."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from fcs.core.errors import UsageError
from fcs.shards.ledger.commit_records import is_complete
from fcs.shards.ledger.layout import SUMMARY
from fcs.shards.ledger.pinned_run import read_run
from fcs.shards.ledger.summary import summarize, write_summary
from fcs.shards.store.base import Store
from fcs.shards.store.files import to_json
from fcs.shards.store.local import LocalStore
from fcs.tools.report.distributions import EnergyScore, distances
from fcs.tools.report.markdown import tables
from fcs.tools.report.page import page
from fcs.tools.report.read import read

PAGE = "report.html"
Summary = Mapping[str, Any]


def report(
    outs: Sequence[Store],
    to: Store | None = None,
    reference: Store | None = None,
    energy: Sequence[EnergyScore] = (),
    most: int | None = None,
) -> dict[str, Summary]:
    """Merge the metrics of runs, finished or not; write the summaries and ``report.html``.

    Args:
        outs: where they are.
        to: place for one ``summary.json`` of all, ``{runs: {NAME: summary}, energy: [...]}``, and one page of all,
            side by side; nothing is written into the runs then. By default each run's own are written anew.
        reference: a run whose records' pictures FID and KID compare with; each run's own by default.
        energy: energy scores of the runs, for the place of all.
        most: records with pictures on a page; None for as many as it bears well.

    Returns:
        The summary of each run by name: the folder's, or where two have one name, what differs in their paths.

    Raises:
        UsageError: a folder has no pinned run.
        StorageError: something cannot be read or written, or a committed file is missing or damaged.
    """
    names = named(outs)
    for out in outs:
        read_run(out)  # all are looked at before anything is written
    if isinstance(to, LocalStore) and to.root.exists() and not to.root.is_dir():
        raise UsageError.of("--to", to, "a folder; it is a file")
    runs = [read(out, name) for name, out in zip(names, outs, strict=True)]
    sets = [distances(out, reference) for out in outs]
    further = [{"features": one} if one else {} for one in sets]
    found = {
        name: _write(out, more) if to is None else {**summarize(out), **more}
        for name, out, more in zip(names, outs, further, strict=True)
    }
    if to is None:
        for run in runs:
            run.out.replace(PAGE, page([run], [found[run.name]], most=most).encode())
    else:
        facts = [one.facts() for one in energy]
        to.replace(SUMMARY, to_json({"runs": found, "energy": facts}))
        to.replace(PAGE, page(runs, list(found.values()), facts, most).encode())
    return found


def named(outs: Sequence[Store]) -> list[str]:
    """A name for each folder: its own, or where several have one name, the part in which their paths differ."""
    paths = [Path(os.path.abspath(out.root) if isinstance(out, LocalStore) else str(out)).parts for out in outs]
    last = [path[-1] for path in paths]
    if len(set(last)) == len(last):
        return last
    head, tail = _shared(paths), _shared([path[::-1] for path in paths])
    inner = ["/".join(path[head : len(path) - tail]) for path in paths]
    return inner if len(set(inner)) == len(inner) and all(inner) else [str(out) for out in outs]


def _shared(paths: Sequence[Sequence[str]]) -> int:
    """With how many equal parts all of these begin."""
    return sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False)))


def markdown(outs: Sequence[Store]) -> Iterator[str]:
    """Lines of the runs' tables in Markdown. Raises as ``report``."""
    return tables([read(out, name) for name, out in zip(named(outs), outs, strict=True)])


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


def energy_table(energy: Sequence[EnergyScore]) -> Iterator[str]:
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
