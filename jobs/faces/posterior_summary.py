"""Comparisons of one model on several masks, side by side in one table."""

from __future__ import annotations

from typing import Any

from fcs.bench.tables import markdown

Entry = dict[str, Any]
# Figures of a mask, by the name of their paired difference, and which way is better.
SHOWN = {"consistency": 1, "tv": -1, "energy_own": -1}
WORDS = {"consistency": "consistency", "tv": "total variation", "energy_own": "energy"}


def summaries(sets: dict[str, dict[str, Entry]]) -> str:
    """A table for each model of sets that are called ``MODEL, MASK``, a row a method.

    Bold: significantly better than the row that all are compared with; in italics: significantly worse.
    """
    models: dict[str, dict[str, dict[str, Entry]]] = {}
    for name, rows in sets.items():
        model, _, mask = name.partition(", ")
        models.setdefault(model, {})[mask] = rows
    return "\n\n".join(f"{model}\n\n{table(masks)}" for model, masks in models.items())


def table(masks: dict[str, dict[str, Entry]]) -> str:
    """Methods down, figures of each mask across; first what a perfect sampler would have."""
    heads = ["method", "calls", *(f"{mask}: {WORDS[figure]}" for mask in masks for figure in SHOWN)]
    perfect: list[Any] = ["a perfect sampler", None]
    for rows in masks.values():
        known = next(iter(rows.values()))
        spread = known["calibration"]["mean"]
        floor = known["consistency_by_attribute"].get("mean", {}).get("floor")
        perfect += [floor, f"{spread['perfect']:.3g}", None]
    lines = []
    for label in dict.fromkeys(label for rows in masks.values() for label in rows):
        here = [rows.get(label) for rows in masks.values()]
        cost = next(price(entry) for entry in here if entry is not None)
        lines.append([label, cost, *(cell(entry, figure) for entry in here for figure in SHOWN)])
    return markdown(heads, [perfect, *lines])


def price(entry: Entry) -> str:
    """Denoiser calls, and backward passes (``b``)."""
    return f"{entry['calls']} + {entry['backwards']}b" if entry["backwards"] else f"{entry['calls']}"


def cell(entry: Entry | None, figure: str) -> str | float | None:
    """A figure, marked where its paired difference excludes 0."""
    if entry is None:
        return None
    spread = entry["calibration"]["mean"]
    value = spread[figure] if figure in spread else (entry[figure] or {}).get("mean")
    apart = entry["difference"].get(figure)
    if value is None or apart is None or apart["low"] <= 0 <= apart["high"]:
        return value if value is None else f"{value:.3g}"
    better = (apart["mean"] > 0) == (SHOWN[figure] > 0)
    return f"**{value:.3g}**" if better else f"*{value:.3g}*"
