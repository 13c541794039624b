"""How the constraint's residual goes down the noise levels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fcs.tools.report.charts import Chart, Values, lines
from fcs.tools.report.read import FinishedRun


def course(runs: Sequence[FinishedRun]) -> Chart | None:
    """The median record's residual over the way down; with a single run also the tenth and the ninetieth percentile.

    None where no run has looked at its residuals.
    """
    tables = {number: found for number, run in enumerate(runs) if len(found := _table(run))}
    medians = {number: (_way(found), np.median(found, 0)) for number, found in tables.items()}
    low, high = ({number: np.percentile(found, share, 0) for number, found in tables.items()} for share in (10, 90))
    bands = {number: (_way(found), low[number], high[number]) for number, found in tables.items()}
    axes = ("% of the levels walked", "residual")
    return lines(medians, "Residual over the levels", axes, bands if len(runs) == 1 else None)


def _way(found: Values) -> Values:
    count = found.shape[1]
    return 100 * np.arange(1, count + 1) / count


def _table(run: FinishedRun) -> Values:
    """``(records, levels)`` of those records that walked as many levels as most did."""
    if "course" not in run.good.column_names:
        return np.empty((0, 0))
    rows = [row for row in run.good["course"].to_pylist() if row and None not in row]
    usual = Counter(map(len, rows)).most_common(1)
    return np.asarray([row for row in rows if len(row) == usual[0][0]], np.float64) if rows else np.empty((0, 0))
