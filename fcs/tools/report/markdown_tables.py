"""The tables of a report in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fcs.tools.report.finished_run import FinishedRun
from fcs.tools.report.number_format import MINUS
from fcs.tools.report.score_table import ErrorBar, ScoreRow, infinite_scores, score_table

_SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>|#"} | {"\n": " "})


def markdown_tables(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Lines: a table with a row for each run; for several runs another one with the differences from the first."""
    rows = score_table(runs)
    heads = [f"{escaped(row.title)}{f' ({row.unit})' if row.unit else ''}" for row in rows]
    yield from _table(
        ["run", "records", "failed", *heads], (_run(number, run, rows) for number, run in enumerate(runs))
    )
    for sentence in infinite_scores(runs):
        yield ""
        yield escaped(sentence)
    if len(runs) > 1:
        yield ""
        yield f"Difference from {escaped(runs[0].name)}, over the records that both have; 95 % bootstrap intervals."
        yield ""
        others = ([escaped(run.name), *_differences(number, rows)] for number, run in enumerate(runs) if number)
        yield from _table(["run", *heads], others)


def escaped(text: str) -> str:
    """Text with Markdown's special characters escaped."""
    return text.translate(_SPECIAL)


def _table(head: Sequence[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _run(number: int, run: FinishedRun, rows: Sequence[ScoreRow]) -> list[str]:
    return [escaped(run.name), *map(str, run.counts), *(_cell(row.means[number]) for row in rows)]


def _differences(number: int, rows: Sequence[ScoreRow]) -> Iterator[str]:
    for row in rows:
        found = row.differences[number]
        yield _cell(None if found is None else found.bar, signed=True)


def _cell(found: ErrorBar | None, signed: bool = False) -> str:
    if found is None:
        return "-"
    mean = found.mean
    low, at, high = (mean.text(value, signed).replace(MINUS, "-") for value in (mean.low, mean.mean, mean.high))
    return f"{at} ({low} to {high})" if low != high else at
