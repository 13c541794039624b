"""The page: one HTML file with everything in it, that asks for nothing and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fcs.tools.report import cards
from fcs.tools.report.charts import number
from fcs.tools.report.choose import choose, failed
from fcs.tools.report.facts import facts, settings
from fcs.tools.report.pace import pace, processes
from fcs.tools.report.pictures import EmbeddedPictures, look
from fcs.tools.report.read import FinishedRun, Key
from fcs.tools.report.residual_curve import course
from fcs.tools.report.scoreboard import scoreboard
from fcs.tools.report.sets import distances, energies

SHOWN = 48  # records with pictures
PICTURES = 400  # of all runs together, unless told otherwise
_SOURCE = files("fcs.tools.report") / "html"


def page(
    runs: Sequence[FinishedRun],
    summaries: Sequence[Mapping[str, Any]],
    energy: Sequence[Mapping[str, Any]] = (),
    most: int | None = None,
) -> str:
    """The report of runs, beside the first one where there are several.

    Args:
        runs: what they have committed.
        summaries: of each.
        energy: scores of those that differ in their seed alone, as ``summary.json`` has them.
        most: records with pictures; by default 48, or fewer of many runs.

    Raises:
        StorageError: OUT cannot be read, or a committed file is missing or damaged.
    """
    chosen = choose(runs, min(SHOWN, PICTURES // (3 + len(runs))) if most is None else most)
    broken = [failed(run) for run in runs]
    shown = [look(run, _wanted(run, [one.key for one in chosen], bad)) for run, bad in zip(runs, broken, strict=True)]
    style, script = ((_SOURCE / name).read_text() for name in ("style.css", "script.js"))
    heads, common = _heads([_run(*each) for each in zip(runs, summaries, shown, strict=True)])
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=" · ".join(run.name for run in runs),
            made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            version=version("fcs"),
            style=Markup(style),
            script=Markup(script),
            policy=f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
            "base-uri 'none'; form-action 'none'",
            runs=heads,
            common=common,
            scores=scoreboard(runs),
            distances=distances(summaries),
            energies=energies(energy),
            cards=cards.cards(runs, chosen, shown),
            choices=cards.choices(runs, chosen),
            failures=cards.failures(runs, broken, shown),
            course=course(runs),
            pace=pace(runs),
            processes=[processes(run) for run in runs],
            settings=settings(runs),
        )
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _wanted(run: FinishedRun, chosen: list[Key], bad: Mapping[str, list[tuple[Key, str]]]) -> list[Key]:
    return [*chosen, *(key for samples in bad.values() for key, _ in samples)]


@dataclass(frozen=True)
class _Run:
    """The head of a run's column."""

    name: str
    complete: bool
    ok: int
    failed: int
    facts: list[tuple[str, str]]


def _run(run: FinishedRun, summary: Mapping[str, Any], shown: Mapping[Key, EmbeddedPictures]) -> _Run:
    model = next((seen.model for seen in shown.values() if seen.model), "")
    counts = (run.good.num_rows, run.bad.num_rows)
    return _Run(run.name, bool(summary.get("complete")), *counts, facts(run, model))


def _heads(runs: list[_Run]) -> tuple[list[_Run], list[tuple[str, str]]]:
    """The heads without the facts that several runs have in common, and those."""
    shared = [fact for fact in runs[0].facts if len(runs) > 1 and all(fact in run.facts for run in runs)]
    return [replace(run, facts=[fact for fact in run.facts if fact not in shared]) for run in runs], shared


def _environment() -> Environment:
    loader = PackageLoader("fcs.tools.report", "html")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["number"] = number
    return made
