"""The tables of a report for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fcs.tools.report.distributions import EnergyScore

Summary = Mapping[str, Any]


def summary_lines(summaries: Mapping[str, Summary]) -> Iterator[str]:
    """Lines of a table: a column for each run, a row for each metric that one of them has."""
    metrics = sorted({name for summary in summaries.values() for name, m in summary["metrics"].items() if m["n"]})
    rows = {
        "": list(summaries),
        "complete": ["yes" if summary["complete"] else "no" for summary in summaries.values()],
        "ok": [str(summary["records"]["ok"]) for summary in summaries.values()],
        "failed": [str(summary["records"]["failed"]) for summary in summaries.values()],
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
    """Caveats of the distances, a line each."""
    for run, summary in summaries.items():
        for name, feature in summary.get("features", {}).items():
            yield from (f"{run}, {name}: {note}" for note in feature["notes"])


def _mean(metric: Mapping[str, Any] | None) -> str:
    """Mean and number of records."""
    return "-" if metric is None or not metric["n"] else f"{metric['mean']:.4f} ({metric['n']})"


def _distance(feature: Mapping[str, Any], kind: str) -> str:
    """A distance, with the error of KID."""
    if feature.get(kind) is None:
        return "-"
    error = feature.get(f"{kind}_error")
    return f"{feature[kind]:.4g}" + ("" if error is None else f" +- {error:.2g}")
