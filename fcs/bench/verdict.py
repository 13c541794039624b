"""Whether one setting equals another: how much of the gap that the other leaves behind it closes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fcs.bench import cells
from fcs.bench.figures import interval
from fcs.core.intervals import bootstrap_ratio

CLOSED, SURELY = 0.95, 0.8  # share of the gap to close, and the least lower bound of its interval


def closes(worst: Tensor, best: Tensor, found: Tensor, groups: Tensor) -> dict[str, Any]:
    """The gap from ``worst`` to ``best``, and the share of it that ``found`` closes, with bootstrap intervals.

    ``equal`` is None where the gap's own interval includes 0, so that the set cannot decide; else whether ``found``
    closes at least 95 % of it, with a lower bound of at least 80 %.

    Args:
        worst, best, found: a figure of each record, ``(N,)``, smaller is better.
        groups: records that the bootstrap draws together, ``(N,)``.
    """
    gap, difference = interval(worst - best, groups), interval(found - best, groups)
    mean = ((worst - found).mean() / (worst - best).mean()).item()
    low, high = bootstrap_ratio(worst - found, worst - best, groups)
    decides = gap["low"] > 0
    equal = mean >= CLOSED and low >= SURELY if decides else None
    share = {"mean": mean, "low": low, "high": high}
    return {"records": len(found), "gap": gap, "difference": difference, "share": share, "equal": equal}


def told(name: str, verdict: dict[str, Any]) -> str:
    """A verdict in one line."""
    gap, share, difference = (cells.told(verdict[key]) for key in ("gap", "share", "difference"))
    said = {True: "equal", False: "not shown to be equal", None: "undecided: the gap itself is within the noise"}
    return f"{name}: gap {gap}, share closed {share}, difference {difference}, {said[verdict['equal']]}"
