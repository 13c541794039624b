"""Whether runs in 16 bits are as good as in float32: the same records and seeds in each, judged side by side."""

from __future__ import annotations

from typing import Any

from judging.cells import Series, row, told

FIRST = "float32"  # what the others are compared with
SHARE = 0.05  # of the gap between replacement and float32: what does not count
PAPER = "sampler.difference=0.005"
TRAINER = {"bf16": "bf16", "fp16": "16"}  # trainer.precision by type
Row = dict[str, Any]


def arms(dtypes: list[str]) -> dict[str, tuple[str, ...]]:
    """What is run, by name: float32, replacement for the gap, and each type with the paper's delta and with auto."""
    found: dict[str, tuple[str, ...]] = {FIRST: ("trainer.precision=32", PAPER)}
    found["replacement"] = ("trainer.precision=32", "sampler=replacement")
    for dtype in dtypes:
        precision = f"trainer.precision={TRAINER[dtype]}"
        found[f"{dtype}-0.005"] = (precision, PAPER)
        found[f"{dtype}-auto"] = (precision, "sampler.difference=auto")
    return found


def verdict(gap: dict[str, float], difference: dict[str, float]) -> str:
    """Whether a difference from float32 counts, by its interval and that of the gap; both of the energy score.

    Equal: the interval lies within ``SHARE`` of the gap on both sides of 0. Worse or better: it lies beyond that.
    """
    if gap["low"] <= 0 <= gap["high"]:
        return "the set cannot decide: the gap's interval includes 0"
    bound = SHARE * abs(gap["mean"])
    if -bound <= difference["low"] and difference["high"] <= bound:
        return "equal"
    if difference["low"] > bound:
        return "worse"
    return "better" if difference["high"] < -bound else "undecided: the interval is too wide"


def judged(series: Series, dtypes: list[str]) -> list[Row]:
    """A row an arm, with its verdict where it has one."""
    rows = []
    for name, overrides in arms(dtypes).items():
        report = series.report(name, overrides)
        rows.append(row({"arm": name}, report) | {"versus": report.get("versus"), "verdict": ""})
    gap = rows[1]["difference_to_first"]
    for one in rows[2:]:
        one["verdict"] = verdict(gap, one["difference_to_first"])
    return rows


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    energy = "energy_own" if rows[0]["energy_own"] else "energy_random"
    lines = ["| arm | calls | seconds | energy score | minus float32 | right or nearest | residual | verdict |"]
    lines.append("|" + "---|" * 8)
    for one in rows:
        said = [one["arm"], f"{one['nfe']:.0f}", f"{one['seconds']:.2g}", told(one[energy])]
        said += [told(one["difference_to_first"]), told(one["retrieval"]), f"{one['residual']:.3g}", one["verdict"]]
        lines.append("| " + " | ".join(said) + " |")
    return "\n".join(lines) + "\n"
