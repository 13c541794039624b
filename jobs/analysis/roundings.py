"""Tables of how differences round: what each arithmetic comes to, and the cosines by level and length."""

from __future__ import annotations

from itertools import groupby
from statistics import median
from typing import Any

from analysis.arithmetic import BARS, FORWARD_MODE
from fcs.bench.tables import markdown

MOST = 900.0  # t up to which a way must pass; above, x_t is nearly all noise
Row = dict[str, Any]


def summary(rows: list[Row]) -> list[Row]:
    """A row for each arithmetic, kind of difference and length: over all levels and moves."""
    keys = ("arithmetic", "dtype", "difference", "way")
    found = []
    for key in dict.fromkeys(tuple(one[name] for name in keys) for one in rows):
        own = [one for one in rows if tuple(one[name] for name in keys) == key]
        low = [one for one in own if one["t"] <= MOST]
        high = [one["rounding"]["mean"] for one in own if one["t"] > MOST]
        worst = min((one["rounding"]["mean"] for one in low), default=None)
        found.append(
            {
                **dict(zip(keys, key, strict=True)),
                "delta": [min(one["delta"] for one in own), max(one["delta"] for one in own)],
                "rounding": worst,
                "rounding_above": min(high, default=None),
                "truncation": min((one["truncation"]["mean"] for one in low), default=None),
                "whole": sum(one["whole"]["mean"] for one in low) / len(low) if low else None,
                "call": median(one["call"] for one in own),
                "passes": worst is not None and worst >= BARS[own[0]["dtype"]],
            }
        )
    return found


def summary_table(rows: list[Row]) -> str:
    """What ``auto`` and forward mode come to, in Markdown."""
    head = ["arithmetic", "difference", "delta", f"least rounding to t={MOST:.0f}", "above", "least truncation"]
    head += ["whole, mean", "ms a call", "passes"]
    cells = []
    for one in rows:
        if one["way"] not in ("auto", FORWARD_MODE):
            continue
        said = [one["arithmetic"], one["difference"], " to ".join(f"{delta:.2g}" for delta in one["delta"])]
        said += [cosine(one[name]) for name in ("rounding", "rounding_above", "truncation", "whole")]
        cells.append([*said, f"{1000 * one['call']:.2g}", "yes" if one["passes"] else "no"])
    return markdown(head, cells)


def by_level(rows: list[Row]) -> list[str]:
    """A table for each arithmetic's forward difference: rounding / truncation by level, moves and length."""
    forward = [one for one in rows if one["difference"] == "forward"]
    found = []
    for name in dict.fromkeys(one["arithmetic"] for one in forward):
        own = [one for one in forward if one["arithmetic"] == name]
        ways = list(dict.fromkeys(one["way"] for one in own))
        lines = []
        for (t, moves), place in groupby(own, lambda one: (one["t"], one["moves"])):
            lines.append([f"{t:.0f}", str(moves), *(cell(one) for one in place)])
        table = markdown(["t", "moves", *map(str, ways)], lines)
        found.append(f"{name}: rounding / truncation\n\n{table}")
    return found


def cell(row: Row) -> str:
    """Rounding / truncation, and how long where it was chosen."""
    told = f"{cosine(row['rounding']['mean'])} / {cosine(row['truncation']['mean'])}"
    return f"{told} ({row['delta']:.2g})" if row["way"] == "auto" else told


def cosine(value: float | None) -> str:
    """Three digits; nothing where there is none."""
    return "" if value is None else f"{value:.3f}"
