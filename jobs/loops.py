"""The same pictures by fcs-predict, by a loop of Ray Data and by one of accelerate, and what a killed worker costs.

    python jobs/loops.py --out runs/loops

Inpaints the 48 shipped digits with the same sampler in batches of one size, by two processes of one thread each: the
ways in turn undisturbed, and in turn with one process killed (SIGKILL) when both have done two batches. Where pictures
are missing after that, the same command is given again. The loops are those of jobs/scale/loops, as short as their
libraries allow. Writes OUT/loops.json: exit codes, CPU seconds of all processes and pictures that were there after each
command, pictures that were computed in all, and undisturbed pictures a second and CPU seconds of one, medians of
batches. A loop whose packages are missing (ray and pandas, accelerate) is left out, with a line that says so. A command
that waits for ever is ended by SIGTERM from another terminal, and the job goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from command import command
from scale.cpu_meter import CpuMeter
from scale.loops import batch_log
from scale.loops.inpainted import BATCH, STEP_SIZE, STEPS
from unpack import unpack

import fcs
from fcs.bench.origin import origin, write_json
from fcs.core.errors import UsageError
from fcs.tools.cli.ends import Parser
from fcs.tools.submit.ray_cluster import SETTINGS

LOOPS = Path(__file__).parent / "scale" / "loops"
SAMPLES = Path(fcs.__file__).parent / "samples" / "digits" / "mixed.tar"
PROCESSES = 2
BEFORE_THE_KILL = 2  # batches of each process
NEEDS: dict[str, tuple[str, ...]] = {
    "fcs-predict": (),
    "Ray Data": ("ray", "pandas"),
    "accelerate": ("accelerate",),
}
PARTS = ("undisturbed", "killed")
BY_HAND = {"Ray Data": "with_ray_data.py", "accelerate": "with_accelerate.py"}
SHARED = "inpainted.py"  # by both loops


def commands(way: str, work: Path, out: Path) -> list[list[str]]:
    """The command lines of a way, each a process that is started beside the others."""
    pictures = [str(work / "pictures"), str(out)]
    if way == "Ray Data":
        return [[sys.executable, str(LOOPS / BY_HAND[way]), *pictures]]
    if way == "accelerate":
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={PROCESSES}", "--max-restarts=3"]
        return [[sys.executable, *torchrun, str(LOOPS / BY_HAND[way]), *pictures]]
    own = [sys.executable, str(LOOPS / "with_fcs.py"), str(out / "log"), "--config", "digits_inpaint"]
    own += [f"out={out / 'run'}", f"data.shards={work}/shards/*.tar", f"data.batch_size={BATCH}", f"steps={STEPS}"]
    return [[*own, f"sampler.step_sizes=[{STEP_SIZE}]", "previews.max=0"]] * PROCESSES


def inputs(work: Path) -> int:
    """The shipped digits as a folder of pictures, and as a shard for each process; returns how many there are."""
    folder, shards = work / "pictures", work / "shards"
    for old in (folder, shards):
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir(parents=True)
    unpack(SAMPLES, folder)
    keys = sorted(path.name.removesuffix(".mask.png") for path in folder.glob("*.mask.png"))
    for number in range(PROCESSES):
        with tarfile.open(shards / f"{number}.tar", "w") as tar:
            for key in keys[number::PROCESSES]:
                for name in (f"{key}.png", f"{key}.mask.png"):
                    tar.add(folder / name, name)
    return len(keys)


def run_once(way: str, work: Path, out: Path, kill: bool = False) -> dict[str, Any]:
    """Run the command of a way to its end; ``kill`` one of its processes at work."""
    out.mkdir(parents=True, exist_ok=True)
    meter = CpuMeter()
    environment = {**SETTINGS, **os.environ, "OMP_NUM_THREADS": "1", meter.variable: ""}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    with (out / "said").open("a") as said, meter.looking():
        lines = commands(way, work, out)
        started = [subprocess.Popen(line, env=environment, stdout=said, stderr=said) for line in lines]
        while kill and any(process.poll() is None for process in started):
            working = [pid for pid, found in batch_log.read(out / "log").items() if len(found) >= BEFORE_THE_KILL]
            if len(working) == PROCESSES:
                os.kill(min(working), signal.SIGKILL)
                break
            time.sleep(0.02)
        codes = [process.wait() for process in started]
    return {"exit_codes": codes, "pictures": there(out), "cpu_seconds": round(meter.seconds, 1)}


def there(out: Path) -> int:
    """Pictures that can be used: files, of fcs-predict those in shards that are committed and in finished parts."""
    tars = [path for path in (out / "run").rglob("*.tar") if path.stat().st_size]
    return len(list(out.glob("*.png"))) + sum(
        sum(name.endswith(".png") for name in tarfile.open(path).getnames()) for path in tars
    )


def at_work(out: Path) -> dict[str, float]:
    """Pictures a second of all processes and CPU seconds of a picture: medians over the batches after each first one.

    From the end of one batch to that of the next: reading, sampling and writing, without what is done once.
    """
    found = batch_log.read(out / "log").values()
    pairs = [pair for ended in found for pair in pairwise(ended)]
    rate = PROCESSES * median(after.pictures / (after.ended - before.ended) for before, after in pairs)
    cpu = median((after.cpu - before.cpu) / after.pictures for before, after in pairs)
    return {"pictures_per_second": round(rate, 2), "cpu_per_picture": round(cpu, 4)}


def measured(way: str, part: str, work: Path, pictures: int) -> dict[str, Any]:
    """A run, undisturbed or with a killed process; the same command again where pictures are missing.

    Raises:
        SystemExit: pictures are missing after that.
    """
    out = work / way / part
    shutil.rmtree(out, ignore_errors=True)
    runs = [run_once(way, work, out, kill=part == "killed")]
    if runs[0]["pictures"] < pictures and part == "killed":
        runs.append(run_once(way, work, out))
    if runs[-1]["pictures"] < pictures:
        raise SystemExit(f"{way}, {part}: {runs}; expected {pictures} pictures; {out / 'said'} has its words")
    batches = [batch for found in batch_log.read(out / "log").values() for batch in found]
    computed = {"computed": sum(batch.pictures for batch in batches), "calls": max(batch.calls for batch in batches)}
    rates = at_work(out) if part == "undisturbed" else {}
    return {"commands": runs, "processes_that_computed": len(batch_log.read(out / "log")), **computed, **rates}


def by_hand(way: str) -> int:
    """Lines that were written for a way, without blank ones, docstrings and what only measures."""
    names = [BY_HAND[way], SHARED] if way in BY_HAND else []
    lines = [line.strip() for name in names for line in (LOOPS / name).read_text().splitlines()]
    return sum(bool(line) and not line.startswith('"""') and "batch_log" not in line for line in lines)


def parser() -> Parser:
    """The options."""
    made = Parser("python jobs/loops.py", __doc__)
    made.add_argument("--out", type=Path, required=True, help="folder for loops.json and for what is computed")
    made.add_argument("--ways", default=",".join(NEEDS), help=f"some of {', '.join(NEEDS)} (default: all)")
    made.add_argument("--parts", default=",".join(PARTS), help=f"of {' and '.join(PARTS)} (default: both)")
    return made


def run(args: argparse.Namespace) -> None:
    """Measure the ways whose packages are there, and put that into loops.json, where others stay.

    Raises:
        UsageError: no such way or part.
    """
    ways = words("--ways", args.ways, tuple(NEEDS))
    parts = words("--parts", args.parts, PARTS)
    work, path = (args.out / "work").resolve(), args.out / "loops.json"
    pictures = inputs(work)
    known: dict[str, Any] = json.loads(path.read_text())["ways"] if path.exists() else {}
    shared = {"pictures": pictures, "processes": PROCESSES, "batch": BATCH, "killed_after_batches": BEFORE_THE_KILL}
    for way in ways:
        missing = [name for name in NEEDS[way] if find_spec(name) is None]
        if missing:
            print(f"{way}: left out, {' and '.join(missing)} is not installed")
            ways = [other for other in ways if other != way]
    for part in parts:
        for way in ways:
            found = measured(way, part, work, pictures)
            print(f"{way}, {part}: {found}", flush=True)
            known[way] = {**known.get(way, {}), "lines_by_hand": by_hand(way), part: found}
            write_json(path, {**origin(), **shared, "load_average": os.getloadavg(), "ways": known})


def words(option: str, given: str, choices: Sequence[str]) -> list[str]:
    """The words of an option.

    Raises:
        UsageError: one that is no choice.
    """
    found = given.split(",")
    for word in found:
        if word not in choices:
            raise UsageError.of(option, word, f"one of {', '.join(choices)}", choices)
    return found


if __name__ == "__main__":
    command(parser(), run)
