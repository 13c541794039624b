"""The residual of the constraint over the noise levels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fcs.tools.report.charts import Chart, Values, line_chart
from fcs.tools.report.finished_run import FinishedRun


def residual_chart(runs: Sequence[FinishedRun]) -> Chart | None:
    """The median record's residual at each level; for a single run also the 10th and the 90th percentile.

    Returns:
        None where no run has recorded its residuals.
    """
    tables = {number: found for number, run in enumerate(runs) if len(found := _table(run))}
    medians = {number: (_levels(found), np.median(found, 0)) for number, found in tables.items()}
    low, high = ({number: np.percentile(found, share, 0) for number, found in tables.items()} for share in (10, 90))
    bands = {number: (_levels(found), low[number], high[number]) for number, found in tables.items()}
    axes = ("% of the levels walked", "residual")
    return line_chart(medians, "Residual over the levels", axes, bands if len(runs) == 1 else None)


def _levels(found: Values) -> Values:
    """Percent of the levels that are done, after each."""
    count = found.shape[1]
    return 100 * np.arange(1, count + 1) / count


def _table(run: FinishedRun) -> Values:
    """``(records, levels)`` of the records with the most common number of levels."""
    if "course" not in run.succeeded.column_names:
        return np.empty((0, 0))
    rows = [row for row in run.succeeded["course"].to_pylist() if row and None not in row]
    usual = Counter(map(len, rows)).most_common(1)
    return np.asarray([row for row in rows if len(row) == usual[0][0]], np.float64) if rows else np.empty((0, 0))
