"""Damaged tars through the reader.

    python tests/torture/fuzz.py --count 20000 --seed 0 --out DIR

Each case is a good tar with up to three changes, perhaps compressed, read as a run reads it. What must hold, whatever
was changed (``rules.py``): every row is a record or a named failure, nothing is raised, no case takes longer than its
limit, memory stays below a limit that the system enforces. A PNG that is accepted is one that went in, pixel for pixel.
A record that no change touched comes out with all of its bytes, or behind a break that has a row of its own. Records
before the first changed byte always come out. fuzz.json says how many cases ended how; a case that breaks a rule is
saved beside it. The seed fixes every case.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

import torch
from mutate import Case, mutate
from PIL import Image
from rules import complaints
from tars import SIDE, corpus
from torch import Tensor

from fcs.core.masks import clean
from fcs.core.records import Record
from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import Source

FORM = Format(1, SIDE, SIDE, needs_mask=True, keep_members=True)
SECONDS = 10.0  # of computing a case; honest ones take milliseconds
SILENCE = 120.0  # seconds after which a process that says nothing more hangs; its start takes some
MEMORY = 1 << 30  # above what the process has when it begins
CHUNK = 500  # cases a process


@dataclass
class Outcome:
    """One case and what came of it."""

    case: int
    changes: tuple[str, ...]
    rows: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    megabytes: float = 0.0
    complaints: list[str] = field(default_factory=list)


def _as_mask(image: Tensor) -> bytes:
    """Pixels of a grey picture ``(1, H, W)`` where it is read as a mask."""
    return clean(Image.fromarray(image[0].numpy())).tobytes()


class Fuzzer:
    """Makes cases by number and judges how the reader takes them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder, self.tars = seed, folder, corpus()
        self.clean = [self.read(Case((), "tar", tar.data)) for tar in self.tars]
        masks = [record.mask for records in self.clean for record in records]
        images = [record.image for records in self.clean for record in records]
        self.pictures = {picture.numpy().tobytes() for picture in (*images, *masks) if picture is not None}
        self.pictures |= {_as_mask(image) for image in images if image is not None}  # a change may make it one

    def case(self, number: int) -> tuple[int, Case]:
        """Which tar a case was, and what became of it."""
        chance = random.Random(f"{self.seed} {number}")
        chosen = chance.randrange(len(self.tars))
        return chosen, mutate(self.tars, chosen, chance)

    def read(self, case: Case) -> list[Record]:
        """All rows, as a run reads them."""
        path = self.folder / f"case.{case.suffix}"
        path.write_bytes(case.data)
        with ShardReader(Source(str(path), "case", len(case.data), 0.0), FORM, self.folder) as reader:
            return [reader.record(number) for number in range(len(reader))]

    def run(self, number: int) -> Outcome:
        """Read a case and judge it."""
        chosen, case = self.case(number)
        outcome, began = Outcome(number, case.changes), time.process_time()
        try:
            rows = self.read(case)
            outcome.rows = dict(Counter((row.error or "ok").partition(":")[0] for row in rows))
            outcome.complaints = self.complaints(chosen, case, rows)
        except Exception as error:
            outcome.complaints = [f"{type(error).__name__}: {error}"]
        outcome.seconds = round(time.process_time() - began, 4)
        outcome.megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return outcome

    def complaints(self, chosen: int, case: Case, rows: list[Record]) -> list[str]:
        """Every rule that the rows of a case break."""
        return list(complaints(self.tars[chosen], self.clean[chosen], self.pictures, case, rows))


def work(seed: int, first: int, last: int) -> None:
    """The cases of one process, a line for each; memory and time are bounded by the system."""
    torch.set_num_threads(1)

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    signal.signal(signal.SIGPROF, late)
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(seed, Path(folder))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in range(first, last):
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            outcome = fuzzer.run(number)
            signal.setitimer(signal.ITIMER_PROF, 0)
            print(json.dumps(asdict(outcome)), flush=True)


def watch(seed: int, first: int, last: int) -> list[Outcome]:
    """Run cases in a process of their own; one that ends or hangs it is an outcome too, and the rest goes on."""
    command = [sys.executable, __file__, "--seed", str(seed), "--work", str(first), str(last)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, env={**os.environ, "OMP_NUM_THREADS": "1"})
        size, since = -1, time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            if os.fstat(said.fileno()).st_size != size:
                size, since = os.fstat(said.fileno()).st_size, time.monotonic()
            elif time.monotonic() - since > SILENCE:
                process.kill()
        said.seek(0)
        outcomes = [Outcome(**json.loads(line)) for line in said if line.endswith("\n")]
    place = first + len(outcomes)
    if process.returncode == 0:
        return outcomes
    ended = Outcome(place, (), complaints=[f"the process ended with {process.returncode}"])
    return [*outcomes, ended, *(watch(seed, place + 1, last) if place + 1 < last else [])]


def main() -> int:
    """Run all cases, save what broke a rule, write fuzz.json; returns 1 where one did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20000, help="cases (20000)")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="for fuzz.json and cases (runs/fuzz)")
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.seed, *args.work)
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    began, outcomes = time.monotonic(), list[Outcome]()
    for first in range(0, args.count, CHUNK):
        outcomes += watch(args.seed, first, min(first + CHUNK, args.count))
        print(f"{len(outcomes)} cases, {sum(bool(o.complaints) for o in outcomes)} break a rule", flush=True)
    failed = [outcome for outcome in outcomes if outcome.complaints]
    rows: Counter[str] = Counter()
    for outcome in outcomes:
        rows.update(outcome.rows)
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(args.seed, Path(folder))
        for outcome in failed:
            case = fuzzer.case(outcome.case)[1]
            (args.out / f"case-{outcome.case}.{case.suffix}").write_bytes(case.data)
    report = {
        "command": "python tests/torture/fuzz.py " + " ".join(sys.argv[1:]),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, Python {platform.python_version()}",
        "cases": len(outcomes),
        "break_a_rule": [asdict(outcome) for outcome in failed],
        "cases_with_a_failed_row": sum(set(outcome.rows) != {"ok"} for outcome in outcomes),
        "rows": dict(rows.most_common()),
        "changes": dict(Counter(change for outcome in outcomes for change in outcome.changes).most_common()),
        "slowest_seconds": max(outcome.seconds for outcome in outcomes),
        "most_megabytes": round(max(outcome.megabytes for outcome in outcomes)),
        "least_megabytes": round(min(outcome.megabytes for outcome in outcomes if outcome.megabytes)),
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    (args.out / "fuzz.json").write_text(json.dumps(report, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
