"""The tables of a report for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fcs.tools.report.distributions import EnergyScore, too_few

Summary = Mapping[str, Any]


def summary_lines(summaries: Mapping[str, Summary]) -> Iterator[str]:
    """Lines of a table: a column for each run, a row for each metric that one of them has."""
    metrics = sorted(
        {name for one in summaries.values() for name, m in one["metrics"].items() if m["n"] or m.get("infinite")}
    )
    rows = {
        "": list(summaries),
        "complete": ["yes" if summary["complete"] else "no" for summary in summaries.values()],
        "ok": [str(_count(summary, "ok")) for summary in summaries.values()],
        "failed": [str(_count(summary, "failed")) for summary in summaries.values()],
        **{name: [_mean(summary["metrics"].get(name)) for summary in summaries.values()] for name in metrics},
    }
    features = sorted({name for summary in summaries.values() for name in summary.get("features", {})})
    for name in features:
        found = [summary.get("features", {}).get(name, {}) for summary in summaries.values()]
        for kind in ("fid", "kid"):
            rows[f"{kind} {name}"] = [_distance(feature, kind) for feature in found]
    widths = [max(len(row[place]) for row in rows.values()) for place in range(len(summaries))]
    for name, row in rows.items():
        cells = (f"{cell:>{width}s}" for cell, width in zip(row, widths, strict=True))
        yield f"{name:16s}  {'  '.join(cells)}"


def energy_lines(scores: Sequence[EnergyScore]) -> Iterator[str]:
    """A line for each group of runs and feature."""
    for score in (one.as_json() for one in scores):
        interval = f"{score['mean']:.4f} ({score['low']:.4f} to {score['high']:.4f})"
        yield f"energy {score['feature']}: {interval}, {score['n']} records, {', '.join(score['runs'])}"


def note_lines(summaries: Mapping[str, Summary]) -> Iterator[str]:
    """What the table leaves out, a line each: shards that are not committed, caveats of the distances."""
    for run, summary in summaries.items():
        begun = summary.get("in_parts")
        if begun:
            counted = f"{begun['ok']} ok and {begun['failed']} failed records"
            yield f"{run}: {counted} are in shards that are not committed yet; they are counted, but in no mean"
        for name, feature in summary.get("features", {}).items():
            yield from (f"{run}, {name}: {note}" for note in feature["notes"])


def _mean(metric: Mapping[str, Any] | None) -> str:
    """Mean and number of records; those where it is infinite apart."""
    known = metric or {"n": 0}
    finite = [f"{known['mean']:.4f} ({known['n']})"] if known["n"] else []
    return ", ".join([*finite, *([f"infinite ({known['infinite']})"] if known.get("infinite") else [])]) or "-"


def _count(summary: Summary, kind: str) -> int:
    """Records ok or failed, committed or in parts."""
    return int(summary["records"][kind] + summary.get("in_parts", {}).get(kind, 0))


def _distance(feature: Mapping[str, Any], kind: str) -> str:
    """A distance, with the error of KID; of a run that kept no such features, which has an empty entry, a dash."""
    if feature.get(kind) is None:
        return "too few" if feature and too_few(feature) else "-"
    error = feature.get(f"{kind}_error")
    return f"{feature[kind]:.4g}" + ("" if error is None else f" +- {error:.2g}")
