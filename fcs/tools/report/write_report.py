"""Writing a report: the summaries of the committed shards and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fcs.core.errors import UsageError
from fcs.shards.ledger.commit_records import is_complete
from fcs.shards.ledger.layout import PAGE, RUN, SUMMARY
from fcs.shards.ledger.pinned_run import read_run
from fcs.shards.ledger.summary import summarize, write_summary
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore
from fcs.tools.report.distributions import EnergyScore, feature_distances
from fcs.tools.report.finished_run import read_finished_run
from fcs.tools.report.html_page import html_page
from fcs.tools.report.run_names import run_names

Summary = Mapping[str, Any]


def write_report(
    outs: Sequence[Store],
    to: Store | None = None,
    reference: Store | None = None,
    energy: Sequence[EnergyScore] = (),
    most: int | None = None,
) -> dict[str, Summary]:
    """Merge the metrics of runs, finished or not; write the summaries and ``report.html``.

    Args:
        outs: the runs.
        to: where to write a single ``summary.json`` of all, ``{runs: {NAME: summary}, energy: [...]}``, and one page
            with all side by side; nothing is written into the runs then. By default each run gets its own.
        reference: a run with whose references FID and KID compare; each run's own by default.
        energy: energy scores of the runs, for ``to``.
        most: most records with pictures on a page; None for a number that suits the number of runs.

    Returns:
        The summary of each run by its name in the report (``run_names``).

    Raises:
        UsageError: a folder has no pinned run; ``to`` is a run, or cannot be a folder; the reference is no run, or is
            asked for where no run kept features.
        StorageError: something cannot be read or written, or a committed file is missing or damaged.
    """
    names = run_names(outs)
    for out in (*outs, *([] if reference is None else [reference])):
        read_run(out)  # all are checked before anything is written
    if to is not None and to.exists(RUN):
        raise UsageError.of("--to", to, "another folder than a run's, which has a summary and a page of its own")
    runs = [read_finished_run(out, name) for name, out in zip(names, outs, strict=True)]
    distances = [feature_distances(out, reference) for out in outs]
    if reference is not None and not any(distances):
        raise UsageError.of("--reference", reference, "runs with features to compare (metrics.features)")
    if isinstance(to, LocalStore):
        _make_folder(to)
    further = [{"features": own} if own else {} for own in distances]
    summaries = {
        name: _write_summary(out, more) if to is None else {**summarize(out), **more}
        for name, out, more in zip(names, outs, further, strict=True)
    }
    if to is None:
        for run in runs:
            run.out.replace(PAGE, _encoded(html_page([run], [summaries[run.name]], most=most)))
    else:
        scores = [one.as_json() for one in energy]
        to.replace(SUMMARY, to_json({"runs": summaries, "energy": scores}))
        to.replace(PAGE, _encoded(html_page(runs, list(summaries.values()), scores, most)))
    return summaries


def _encoded(page: str) -> bytes:
    """In UTF-8; names of files may hold bytes that are none."""
    return page.encode(errors="backslashreplace")


def _make_folder(to: LocalStore) -> None:
    try:
        to.root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError.of("--to", to, f"a folder; {error.filename} is a file") from error
    except FileNotFoundError as error:  # below /proc, for example
        raise UsageError.of("--to", to, "a place where a folder can be made") from error


def _write_summary(out: Store, further: Mapping[str, Any]) -> Summary:
    while True:
        summary = write_summary(out, further)
        # A run that ended meanwhile has written that it is complete; ours, from before, must not stand over it.
        if summary["complete"] or not _is_complete(out):
            return summary


def _is_complete(out: Store) -> bool:
    run = read_run(out)
    return is_complete(out, [shard["stem"] for shard in run["shards"]], run.get("limit"))
