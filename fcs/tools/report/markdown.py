"""The tables of a report in Markdown, for a README."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fcs.tools.report.charts import MINUS
from fcs.tools.report.read import FinishedRun
from fcs.tools.report.scoreboard import ScoreRow, Whisker, scoreboard

_SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>|#"} | {"\n": " "})


def tables(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Lines: a table with a row for each run; where there are several, another with what differs from the first."""
    rows = scoreboard(runs)
    heads = [f"{escaped(row.title)}{f' ({row.unit})' if row.unit else ''}" for row in rows]
    yield from _table(
        ["run", "records", "failed", *heads], (_run(number, run, rows) for number, run in enumerate(runs))
    )
    if len(runs) > 1:
        yield ""
        yield f"Difference from {escaped(runs[0].name)}, over the records that both have; 95 % bootstrap intervals."
        yield ""
        others = ([escaped(run.name), *_beside(number, rows)] for number, run in enumerate(runs) if number)
        yield from _table(["run", *heads], others)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return text.translate(_SPECIAL)


def _table(head: Sequence[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _run(number: int, run: FinishedRun, rows: Sequence[ScoreRow]) -> list[str]:
    counts = [str(run.good.num_rows), str(run.bad.num_rows)]
    return [escaped(run.name), *counts, *(_cell(row.cells[number]) for row in rows)]


def _beside(number: int, rows: Sequence[ScoreRow]) -> Iterator[str]:
    for row in rows:
        found = row.beside[number]
        yield _cell(None if found is None else found.whisker, signed=True)


def _cell(found: Whisker | None, signed: bool = False) -> str:
    if found is None:
        return "-"
    mean = found.mean
    low, at, high = (mean.text(value, signed).replace(MINUS, "-") for value in (mean.low, mean.mean, mean.high))
    return f"{at} ({low} to {high})" if low != high else at
