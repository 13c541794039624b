"""``fcs-report``: what runs gave, one beside the other."""

from __future__ import annotations

import sys

from fcs.core.errors import UsageError
from fcs.shards.store.open_store import open_store
from fcs.tools.cli.ends import Parser, ending

HELP = """\
Merges the metrics of the committed shards into OUT/summary.json, makes the page OUT/report.html and prints the means.
May be asked while a run goes on. With --to nothing is written into the runs, and one page has them side by side; the
first is what the others are compared with. Where runs kept features (metrics.features) it makes FID and KID, and the
energy score of runs that differ in their seed alone.
"""
CODES = """\
exit codes: 0 done, however far the runs are, 2 usage, 70 defect, 74 storage
"""
MOST = 2000  # records with pictures that a browser may bear


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code. Every way to end early is one line on stderr."""
    return ending("fcs-report", lambda: _report(sys.argv[1:] if arguments is None else arguments))


def _report(given: list[str]) -> int:
    parser = Parser("fcs-report", HELP, CODES)
    parser.add_argument("out", metavar="OUT", nargs="+")
    parser.add_argument(
        "--to", metavar="DIR", help="write one summary.json and one report.html of all runs there, not into the runs"
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables in Markdown, with intervals")
    parser.add_argument(
        "--records", metavar="N", help="records with pictures on a page, 0 to 2000 (48, or fewer of many runs)"
    )
    other = "a run whose records' pictures FID and KID compare with, not each run's own"
    parser.add_argument("--reference", metavar="OUT", help=other)
    options = parser.read(given)
    if options is None:
        return 0
    twice = next((out for out in options.out if options.out.count(out) > 1), None)
    if twice is not None:
        raise UsageError.of("OUT", twice, "each run once")
    most = None if options.records is None else _count(options.records)
    # Below here torch is imported, which takes a second.
    from fcs.tools.report.distributions import energies
    from fcs.tools.report.write import PAGE, energy_table, markdown, named, notes, report, table

    outs = [open_store(out) for out in options.out]
    to, reference = (None if one is None else open_store(one) for one in (options.to, options.reference))
    energy = energies(dict(zip(named(outs), outs, strict=True)))
    found = report(outs, to, reference, energy, most)
    if options.markdown:
        print("\n".join(markdown(outs)))
    else:
        pages = (f"page  {place.where(PAGE)}" for place in (outs if to is None else [to]))
        print("\n".join([*table(found), *energy_table(energy), *pages]))
    for note in notes(found):
        print(f"fcs-report: {note}", file=sys.stderr)
    return 0


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > MOST:
        raise UsageError.of("--records", text, f"a whole number from 0 to {MOST}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
