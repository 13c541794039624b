"""The page: one HTML file that contains everything, loads nothing and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fcs import __version__
from fcs.tools.report.failure_codes import failure_codes
from fcs.tools.report.finished_run import FinishedRun, Key
from fcs.tools.report.number_format import number
from fcs.tools.report.record_cards import card_filters, record_cards
from fcs.tools.report.record_pictures import RecordPictures, read_pictures
from fcs.tools.report.record_selection import first_failures, select_records
from fcs.tools.report.residual_curve import residual_chart
from fcs.tools.report.run_facts import compared_settings, run_facts
from fcs.tools.report.score_table import infinite_scores, score_table
from fcs.tools.report.set_scores import distance_rows, energy_rows
from fcs.tools.report.throughput import process_throughputs, throughput_chart

RECORDS = 48  # with pictures, unless told otherwise
PICTURES = 400  # of all runs together, unless told otherwise
_TEMPLATES = files("fcs.tools.report") / "html"


def html_page(
    runs: Sequence[FinishedRun],
    summaries: Sequence[Mapping[str, Any]],
    energy: Sequence[Mapping[str, Any]] = (),
    most: int | None = None,
) -> str:
    """The report of runs; several are compared with the first one.

    Args:
        runs: what they have committed.
        summaries: of each run.
        energy: energy scores of runs that differ only in their seed, as in ``summary.json``.
        most: most records with pictures; by default 48, or fewer for many runs.

    Raises:
        StorageError: OUT cannot be read, or a committed file is missing or damaged.
    """
    selected = select_records(runs, min(RECORDS, PICTURES // (3 + len(runs))) if most is None else most)
    failures = [first_failures(run) for run in runs]
    pictures = [
        read_pictures(run, _wanted([one.key for one in selected], failed))
        for run, failed in zip(runs, failures, strict=True)
    ]
    style, script = ((_TEMPLATES / name).read_text() for name in ("style.css", "script.js"))
    headers, common = _without_common_facts([_header(*each) for each in zip(runs, summaries, pictures, strict=True)])
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=" · ".join(run.name for run in runs),
            made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            version=__version__,
            style=Markup(style),
            script=Markup(script),
            policy=f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
            "base-uri 'none'; form-action 'none'",
            runs=headers,
            common=common,
            scores=score_table(runs),
            infinite=infinite_scores(runs),
            distances=distance_rows(summaries),
            energies=energy_rows(energy),
            cards=record_cards(runs, selected, pictures),
            filters=card_filters(runs, selected),
            failures=failure_codes(runs, failures, pictures),
            residuals=residual_chart(runs),
            throughput=throughput_chart(runs),
            processes=[process_throughputs(run) for run in runs],
            settings=compared_settings(runs),
        )
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _wanted(selected: Sequence[Key], failed: Mapping[str, list[tuple[Key, str]]]) -> list[Key]:
    return [*selected, *(key for samples in failed.values() for key, _ in samples)]


@dataclass(frozen=True)
class _RunHeader:
    """The head of a run's column; ``begun`` of the records are in shards that are not committed."""

    name: str
    complete: bool
    ok: int
    failed: int
    begun: int
    facts: list[tuple[str, str]]


def _header(run: FinishedRun, summary: Mapping[str, Any], pictures: Mapping[Key, RecordPictures]) -> _RunHeader:
    model = next((own.model for own in pictures.values() if own.model), "")
    return _RunHeader(run.name, bool(summary.get("complete")), *run.counts, run.begun.num_rows, run_facts(run, model))


def _without_common_facts(runs: list[_RunHeader]) -> tuple[list[_RunHeader], list[tuple[str, str]]]:
    """The headers without the facts that several runs have in common, and those facts."""
    common = [fact for fact in runs[0].facts if len(runs) > 1 and all(fact in run.facts for run in runs)]
    return [replace(run, facts=[fact for fact in run.facts if fact not in common]) for run in runs], common


def _environment() -> Environment:
    loader = PackageLoader("fcs.tools.report", "html")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["number"] = number
    return made
