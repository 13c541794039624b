"""``fcs-status``: how far a run is."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator

from fcs.core.errors import StorageError, UsageError
from fcs.shards.ledger.commit_list import damaged_text
from fcs.shards.store.open_store import open_store
from fcs.tools.cli.ends import Parser, ending
from fcs.tools.status.read_status import read_status
from fcs.tools.status.run_status import ProcessStatus, RunStatus
from fcs.tools.status.verify import verify

HELP = """\
Shows how many records of a run are done, failed and missing, how fast it goes and which processes are slow.
Works at any time, from any machine that sees the folder. It only reads OUT.
"""
CODES = """\
exit codes: 0 the status was read, whether the run is complete or not, 2 usage, 70 defect, 74 storage, or --verify found
files that differ from what was committed
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code. Every error is one line on stderr."""
    return ending("fcs-status", lambda: _status(sys.argv[1:] if arguments is None else arguments))


def _status(given: list[str]) -> int:
    parser = Parser("fcs-status", HELP, CODES)
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.add_argument(
        "--array",
        action="store_true",
        help="print the SLURM array expression that finishes the run; nothing if it is complete",
    )
    parser.add_argument("--verify", action="store_true", help="hash all committed files and name those that differ")
    options = parser.read(given)
    if options is None:
        return 0
    if options.array and (options.json or options.verify):
        raise UsageError("--array: expected alone; --json has it too")
    out = open_store(options.out)
    found = read_status(out)
    if options.array:
        if found.array is not None:
            print(found.array)
        return 0
    files, differ = verify(out) if options.verify else (0, [])
    if options.json:
        checked = {"verify": {"files": files, "differ": differ}} if options.verify else {}
        print(json.dumps({"out": str(out), **found.as_json(), **checked}, indent=1))
    else:
        print("\n".join(lines(found)))
        if options.verify:
            print("\n".join([f"verified   {files} files, {len(differ)} differ", *differ]))
    if differ:
        raise StorageError(f"{out}: not as committed; delete shards/STEM.json of these shards to compute them again")
    return 0


def lines(found: RunStatus) -> Iterator[str]:
    """The status for people: the whole run, then the processes that have not ended."""
    total = "?" if found.total is None else found.total
    missing = "" if found.missing is None else f", {found.missing} missing"
    yield f"records    {found.done} of {total} done, {found.failed} failed{missing}"
    if found.failures:
        yield f"failures   {', '.join(f'{code} {number}' for code, number in found.failures.items())}"
    shards = found.as_json()["shards"]
    yield f"shards     {shards['committed']} of {shards['total']} committed, {found.slices} slices to do"
    if found.damaged:
        yield f"damaged    {damaged_text(found.damaged)}"
    if found.rate is not None and not found.complete:
        left = "" if found.seconds_left is None else f", {_duration(found.seconds_left)} left"
        yield f"rate       {found.rate:.2f} records/s{left}"
    states = Counter(process.state for process in found.processes)
    if states:
        yield f"processes  {', '.join(f'{number} {state}' for state, number in states.items())}"
    shown = [process for process in found.processes if process.state != "ended"]
    if shown:
        width = max(len(process.id) for process in shown)
        yield ""
        yield f"{'process':{width}s} {'task':>5s} {'state':>8s} {'done':>8s} {'failed':>7s} {'rec/s':>8s}  last batch"
        yield from (_row(process, width) for process in shown)


def _row(process: ProcessStatus, width: int) -> str:
    rate = "-" if process.rate is None else f"{process.rate:.2f}"
    silent = "-" if process.silent is None else f"{_duration(process.silent)} ago"
    row = (
        f"{process.id:{width}s} {process.task:>5s} {process.state:>8s} {process.done:8d} {process.failed:7d} {rate:>8s}"
    )
    return f"{row}  {silent}{'  straggler' if process.straggler else ''}"


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
