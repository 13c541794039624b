"""``fcs-report``: the scores and pictures of runs, side by side."""

from __future__ import annotations

import sys

from fcs.core.errors import UsageError
from fcs.shards.store.open_store import open_store
from fcs.tools.cli.ends import Parser, ending

HELP = """\
Merges the metrics of the committed shards into OUT/summary.json, writes the page OUT/report.html and prints the means.
Works while a run goes on. With --to, nothing is written into the runs; one page shows them side by side and compares
the others with the first. Where runs kept features (metrics.features), the report has FID and KID, and the energy score
of runs that differ only in their seed.
"""
CODES = """\
exit codes: 0 the report was written, whether the runs are complete or not, 2 usage, 70 defect, 74 storage
"""
MOST_RECORDS = 2000  # with pictures; more make a page too large for a browser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code. Every error is one line on stderr."""
    return ending("fcs-report", lambda: _report(sys.argv[1:] if arguments is None else arguments))


def _report(given: list[str]) -> int:
    parser = Parser("fcs-report", HELP, CODES)
    parser.add_argument("out", metavar="OUT", nargs="+")
    parser.add_argument(
        "--to", metavar="DIR", help="write one summary.json and one report.html of all runs into this folder"
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables in Markdown, with intervals")
    parser.add_argument(
        "--records", metavar="N", help="records with pictures on a page, 0 to 2000 (48, or fewer of many runs)"
    )
    other = "a run with whose references FID and KID compare (default: each run's own)"
    parser.add_argument("--reference", metavar="OUT", help=other)
    options = parser.read(given)
    if options is None:
        return 0
    twice = next((out for out in options.out if options.out.count(out) > 1), None)
    if twice is not None:
        raise UsageError.of("OUT", twice, "each run once")
    most = None if options.records is None else _count(options.records)
    # Importing torch takes a second, so options are checked before.
    from fcs.shards.ledger.layout import PAGE
    from fcs.tools.report.distributions import energy_scores_over_seeds
    from fcs.tools.report.finished_run import read_finished_run
    from fcs.tools.report.markdown_tables import markdown_tables
    from fcs.tools.report.run_names import run_names
    from fcs.tools.report.text_tables import energy_lines, note_lines, summary_lines
    from fcs.tools.report.write_report import write_report

    outs = [open_store(out) for out in options.out]
    to, reference = (None if one is None else open_store(one) for one in (options.to, options.reference))
    named = dict(zip(run_names(outs), outs, strict=True))
    energy = energy_scores_over_seeds(named)
    summaries = write_report(outs, to, reference, energy, most)
    if options.markdown:
        print("\n".join(markdown_tables([read_finished_run(out, name) for name, out in named.items()])))
    else:
        pages = (f"page  {place.where(PAGE)}" for place in (outs if to is None else [to]))
        print("\n".join([*summary_lines(summaries), *energy_lines(energy), *pages]))
    for note in note_lines(summaries):
        print(f"fcs-report: {note}", file=sys.stderr)
    return 0


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > MOST_RECORDS:
        raise UsageError.of("--records", text, f"a whole number from 0 to {MOST_RECORDS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
