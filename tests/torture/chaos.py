"""Kill a run again and again, finish it, and hold the result against an uninterrupted one.

    python tests/torture/chaos.py --out runs/chaos                      40 shards of 50 digits, 200 kills
    python tests/torture/chaos.py --out runs/chaos --kills 20 --shards 4

Each kill is a real signal (SIGKILL, SIGTERM, SIGUSR1) to a real fcs-predict, at a moment drawn over its whole life or
exactly before one of its file operations (open for writing, fsync, link, rename, unlink). A run that is complete is
compared and begun anew until all kills are done. OUT/chaos.json has a line for each kill, and what must hold:
nothing lost or doubled, tars byte for byte as uninterrupted, committed shards untouched, at most two batches a kill
and process computed again. The seed fixes inputs, kinds and order of the kills.

The command cannot tell a kill from a record that kills: where three hit the same batches, it goes on with one record
at a time, and one that is hit then is ``crashed``. A run that ends with such records, and with no other failure, is
asked to try them again before it is compared; chaos.json says how many there were.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from digit_runs import BATCH, committed, hashes, keys, make_inputs, settings, written

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)
GRACE = 60.0  # seconds that the first process may go on before the others are asked to end

# The command, with two additions: a line in a log for each batch it computes, with the number of its records (where
# they are tried one at a time, each batch has one), and a kill before a file operation.
CHILD = """
import os, signal, sys
log, operation, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
del sys.argv[1:4]
from fcs.tasks import pipeline
from fcs.tools.cli import predict
compute = pipeline.Pipeline.__call__
def counted(self, batch, *rest):
    with open(log, "a") as file:
        file.write(f"{sum(batch.valid)}\\n")
    return compute(self, batch, *rest)
pipeline.Pipeline.__call__ = counted
seen = 0
def before(name):
    call = getattr(os, name)
    def counting(*arguments, **options):
        global seen
        seen += 1
        if seen == operation:
            os.kill(os.getpid(), number)
        return call(*arguments, **options)
    setattr(os, name, counting)
for name in ("open", "fsync", "link", "rename", "replace", "unlink"):
    before(name)
sys.exit(predict.main())
"""


@dataclass
class Kill:
    """One kill and what came of it.

    Attributes:
        number: counted over the whole job.
        signal: its name.
        moment: seconds after the start, or the number of the file operation it came before.
        by: ``time`` or ``operation``.
        codes: exit codes of the processes; negative for the signal that ended one.
        committed: shards committed when it was over.
        untouched: whether all shards that were committed before are as they were.
    """

    number: int
    signal: str
    moment: float
    by: str
    codes: list[int]
    committed: int
    untouched: bool


class Chaos:
    """A run that is killed until enough is enough."""

    def __init__(self, out: Path, shards: int, records: int, processes: int, seed: int) -> None:
        self.out, self.processes = out, processes
        self.random = random.Random(seed)
        self.inputs = make_inputs(out / "inputs", shards, records)
        self.log = out / "computed.log"
        self.run_seconds = 0.0
        self.crashed = 0  # records

    def reference(self) -> dict[str, str]:
        """Hashes of an uninterrupted run."""
        began = time.monotonic()
        if self.start(self.out / "reference", 1)[0].wait() != 0:
            raise SystemExit("the uninterrupted run failed")
        self.run_seconds = time.monotonic() - began
        return hashes(self.out / "reference")

    def start(
        self, out: Path, processes: int, operation: int = 0, number: int = 0, retry: bool = False
    ) -> list[subprocess.Popen[bytes]]:
        """The command in so many processes; the first is killed before an operation, where one is given."""
        given = settings(self.inputs, out) + (["data.retry_failed=true"] if retry else [])
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        commands = [
            [sys.executable, "-c", CHILD, str(self.log), str(operation if rank == 0 else 0), str(number), *given]
            for rank in range(processes)
        ]
        return [subprocess.Popen(command, env=environment, **quiet) for command in commands]

    def kill(self, out: Path, number: int) -> Kill:
        """Start the run, kill its first process once, and let the others end."""
        before, chosen = committed(out), self.random.choice(SIGNALS)
        if number % 2:
            by, moment = "operation", float(self.random.randint(1, 120))
            processes = self.start(out, self.processes, int(moment), chosen)
        else:
            by, moment = "time", self.random.uniform(0, self.run_seconds)
            processes = self.start(out, self.processes)
            end_or_wait(processes[0], moment)
            processes[0].send_signal(chosen)
        end_or_wait(processes[0], GRACE)
        for process in processes[1:]:
            process.terminate()
        codes = [process.wait() for process in processes]
        after = committed(out)
        untouched = all(after.get(stem) == state for stem, state in before.items())
        return Kill(number, chosen.name, moment, by, codes, len(after), untouched)

    def finish(self, out: Path, expected: dict[str, str]) -> dict[str, bool]:
        """Run to the end without a kill, crashed records once more, and compare."""
        code = self.start(out, 1)[0].wait()
        errors = [row["error"] for row in written(out) if row["error"]]
        if code == 3 and all(error.startswith("crashed: ") for error in errors):
            self.crashed += len(errors)
            code = self.start(out, 1, retry=True)[0].wait()
        rows = Counter((row["shard"], row["key"]) for row in written(out))
        wanted = {(path.stem, key) for path in self.inputs.glob("*.tar") for key in keys(path)}
        return {
            "exit_0": code == 0,
            "nothing_lost_or_doubled": set(rows) == wanted and set(rows.values()) == {1},
            "same_bytes": hashes(out) == expected,
            "nothing_left_over": not any(list((out / name).glob("*")) for name in ("parts", "claims")),
        }


def end_or_wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait until the process ends, but no longer than that."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def main() -> int:
    """Kill, finish, compare, write chaos.json; returns 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for inputs, runs and chaos.json; made anew")
    parser.add_argument("--kills", type=int, default=200, help="(200)")
    parser.add_argument("--shards", type=int, default=40, help="(40)")
    parser.add_argument("--records", type=int, default=50, help="of each shard (50)")
    parser.add_argument("--processes", type=int, default=1, help="that share the run; the first is killed (1)")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    chaos = Chaos(args.out, args.shards, args.records, args.processes, args.seed)
    expected = chaos.reference()
    chaos.log.write_text("")
    kills: list[Kill] = []
    rounds: list[dict[str, bool]] = []
    while len(kills) < args.kills:
        out = args.out / f"run-{len(rounds)}"
        while len(kills) < args.kills and len(committed(out)) < args.shards:
            kills.append(chaos.kill(out, len(kills)))
            print(json.dumps(asdict(kills[-1])), flush=True)
        rounds.append(chaos.finish(out, expected))
    needed = len(rounds) * args.shards * args.records
    again = (sum(map(int, chaos.log.read_text().split())) - needed) / BATCH
    held = {
        **{name: all(outcome[name] for outcome in rounds) for name in rounds[0]},
        "committed_untouched": all(kill.untouched for kill in kills),
        "at_most_two_batches_again": again <= 2 * len(kills) * args.processes,
    }
    report = {
        "command": "python tests/torture/chaos.py " + " ".join(sys.argv[1:]),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, one thread a process",
        "held": held,
        "runs": len(rounds),
        "batches_computed_again": again,
        "records_crashed": chaos.crashed,
        "kills": [asdict(kill) for kill in kills],
    }
    (args.out / "chaos.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({key: report[key] for key in ("held", "runs", "batches_computed_again", "records_crashed")}))
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
