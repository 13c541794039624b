"""Comparisons of one model on several masks, side by side in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fcs.bench.tables import markdown

Entry = dict[str, Any]
# Figures of a mask, by the name of their paired difference, and which way is better.
SHOWN = {"consistency": 1, "tv": -1, "energy_own": -1}
TITLES = {
    "projected": "projected Newton",
    "krylov": "Newton-Krylov",
    "newton-k1": "Newton, one move",
    "newton-k5": "Newton, five moves (the paper)",
    "freedom": "FreeDoM",
    "posterior": "exact draws",
    "autoencoded": "exact draws, after the autoencoder",
    **{name: name.upper() for name in ("ding", "mmps", "mpgd", "psld")},
}
BESIDE = {"sampler.prior_variance=1": "draws", "task.hole=grey": "grey hole"}
WORDS = {"consistency": "consistency", "tv": "total variation", "energy_own": "energy"}


def summaries(sets: Mapping[str, Mapping[str, Entry]]) -> str:
    """A table for each model of sets that are called ``MODEL, MASK``, a row a method.

    Bold: significantly better than the row that all are compared with; in italics: significantly worse.
    """
    return "\n\n".join(f"{model}\n\n{table(masks)}" for model, masks in by_model(sets).items())


def by_model(sets: Mapping[str, Mapping[str, Entry]]) -> dict[str, dict[str, Mapping[str, Entry]]]:
    """Rows of sets that are called ``MODEL, MASK``, by model and then by mask."""
    models: dict[str, dict[str, Mapping[str, Entry]]] = {}
    for name, rows in sets.items():
        model, _, mask = name.partition(", ")
        models.setdefault(model, {})[mask] = rows
    return models


def table(masks: dict[str, Mapping[str, Entry]]) -> str:
    """Methods down, the best energy score on the first mask first, figures of each mask across.

    A perfect sampler stands above them. Figures in which all are equal are left out.
    """
    first = next(iter(masks.values()))
    found = {label: entry for rows in reversed(masks.values()) for label, entry in rows.items()}
    labels = sorted(found, key=lambda label: (label not in first, found[label]["energy_own"]["mean"]))
    heads = ["method", "calls"]
    perfect = ["a perfect sampler", None]
    columns: list[list[str | None]] = [[*map(title, labels)], [price(found[label]) for label in labels]]
    for mask, rows in masks.items():
        for figure in SHOWN:
            column = [cell(rows.get(label), figure) for label in labels]
            if len({value for value in column if value is not None}) > 1 or len(labels) == 1:
                heads.append(f"{mask}: {WORDS[figure]}")
                perfect.append(best(next(iter(rows.values())), figure))
                columns.append(column)
    return markdown(heads, [perfect, *zip(*columns, strict=True)])


def parts(name: str) -> tuple[str, str, str]:
    """Method, budget of calls, and what was asked beside (after a comma), of a row ``METHOD-CALLS, KEY=VALUE``."""
    row, comma, beside = name.partition(",")
    method, _, budget = row.rpartition("-")
    return method, budget, comma + beside


def title(name: str) -> str:
    """A row's method, for people: its budget shows in its calls."""
    method, _, beside = parts(name)
    return called(method + beside)


def called(method: str) -> str:
    """A method, and what was asked of it beside, for people."""
    name, *beside = method.split(", ")
    return ", ".join([TITLES.get(name, name), *(BESIDE.get(one, one) for one in beside)])


def best(known: Entry, figure: str) -> str | None:
    """What a perfect sampler of as many completions would have, by any row of its mask."""
    if figure == "tv":
        return f"{known['calibration']['mean']['perfect']:.3g}"
    floor = known["consistency_by_attribute"].get("mean", {}).get("floor") if figure == "consistency" else None
    return None if floor is None else f"{floor:.3g}"


def price(entry: Entry) -> str:
    """Denoiser calls, and backward passes (``b``)."""
    return f"{entry['calls']} + {entry['backwards']}b" if entry["backwards"] else f"{entry['calls']}"


def mean(entry: Entry, figure: str) -> float | None:
    """A figure of a row; None where it has none."""
    spread = entry["calibration"]["mean"]
    found: float | None = spread[figure] if figure in spread else (entry[figure] or {}).get("mean")
    return found


def cell(entry: Entry | None, figure: str) -> str | None:
    """A figure, marked where its paired difference excludes 0."""
    if entry is None:
        return None
    value = mean(entry, figure)
    return None if value is None else marked(f"{value:.3g}", entry["difference"].get(figure), SHOWN[figure])


def marked(text: str, apart: Mapping[str, float] | None, way: int) -> str:
    """A text in bold where its paired difference is significantly better, in italics where it is worse.

    Args:
        text: what is marked.
        apart: difference to the reference, with its interval; None for the reference.
        way: 1 if more is better, else -1.
    """
    if apart is None or apart["low"] <= 0 <= apart["high"]:
        return text
    return f"**{text}**" if (apart["mean"] > 0) == (way > 0) else f"*{text}*"
