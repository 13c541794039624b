"""A disk that is full at different points of a run.

    python tests/torture/disk_full.py --out DIR

Runs ``fcs-predict`` on a small file system in memory, once for each point: with room for a part only of the bytes, or
of the files, that the run needs. It must end with 74 and one line that names the path; what it committed must be as in
a run that was not disturbed, and with room again the same command must finish to the same bytes. disk_full.json has a
line for each point. Mounts lie in a namespace of the job's own and go with it; as root or where users may have one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from digit_runs import committed, hashes, make_inputs, settings

ROOM = 256 << 20
FILES = 100_000
INSIDE = "FCS_DISK_FULL"  # set where the namespace is


@dataclass
class Point:
    """One run on a full disk and what came of it.

    Attributes:
        of: what was short: ``bytes`` or ``files``.
        room: how much of it there was.
        code: exit code of the run, 74 expected.
        said: its line on stderr.
        one_line: that it was one, and named a path on the disk.
        committed: shards that were committed then.
        whole: that those were as in the undisturbed run.
        finished: exit code of the same command with room again.
        same_bytes: that all came out as in the undisturbed run, with nothing left over.
    """

    of: str
    room: int
    code: int
    said: str
    one_line: bool
    committed: int
    whole: bool
    finished: int
    same_bytes: bool

    @property
    def held(self) -> bool:
        """Whether all was as it must be."""
        return (self.code, self.finished) == (74, 0) and self.one_line and self.whole and self.same_bytes


class Disk:
    """A file system in memory whose size can be changed."""

    def __init__(self, path: Path) -> None:
        self.path, self.out = path.resolve(), path.resolve() / "run"
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(self.path)], check=True)
        self.resize()

    def resize(self, size: int = ROOM, files: int = FILES) -> None:
        """Room for so many bytes, in pages, and so many files and folders."""
        options = f"remount,size={size},nr_inodes={files + 1}"  # its own root is one
        subprocess.run(["mount", "-o", options, str(self.path)], check=True)

    def used(self) -> tuple[int, int]:
        """Bytes, and files and folders."""
        now = os.statvfs(self.path)
        return (now.f_blocks - now.f_bfree) * now.f_frsize, now.f_files - now.f_ffree - 1

    def clear(self) -> None:
        """Empty it."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.resize()


class Runs:
    """The command, always the same, on the disk or beside it."""

    def __init__(self, out: Path, shards: int, records: int) -> None:
        self.inputs, self.disk = make_inputs(out / "inputs", shards, records), Disk(out / "disk")
        with self.start(out / "reference") as process:
            if process.wait() != 0:
                raise SystemExit("the undisturbed run failed")
        self.expected = hashes(out / "reference")

    def start(self, out: Path) -> subprocess.Popen[str]:
        """The command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "fcs.tools.cli.predict", *settings(self.inputs, out)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def needs(self) -> tuple[int, int]:
        """The most bytes and files that the run has at any time, as far as looking often shows."""
        most = [0, 0]
        with self.start(self.disk.out) as process:
            while process.poll() is None:
                most = [max(pair) for pair in zip(most, self.disk.used(), strict=True)]
                time.sleep(0.002)
        return most[0], most[1]

    def point(self, of: str, room: int) -> Point:
        """Run with too little room, then with enough."""
        self.disk.clear()
        if of == "bytes":
            self.disk.resize(size=room)
        else:
            self.disk.resize(files=room)
        code, lines = self.end()
        done = {stem: self.expected[f"{stem}.tar"] for stem in committed(self.disk.out)}
        found = hashes(self.disk.out)
        whole = all(found.get(f"{stem}.tar") == expected for stem, expected in done.items())
        self.disk.resize()
        finished, _ = self.end()
        left = [path for name in ("parts", "claims") for path in (self.disk.out / name).glob("*")]
        same = hashes(self.disk.out) == self.expected and not left
        one = len(lines) == 1 and str(self.disk.path) in lines[0]
        return Point(of, room, code, " | ".join(lines), one, len(done), whole, finished, same)

    def end(self) -> tuple[int, list[str]]:
        """Run to the end: exit code, and what was said besides progress."""
        process = self.start(self.disk.out)
        said = process.communicate()[1]
        return process.returncode, [line for line in said.splitlines() if line and not line.startswith("records ")]


def rooms(points: int, needed: tuple[int, int]) -> list[tuple[str, int]]:
    """So many points, in turn short of bytes and of files, spread evenly from nothing to almost all."""
    pages = os.sysconf("SC_PAGE_SIZE")
    found = []
    for number in range(points):
        part = (number + 1) / (points + 1)
        if number % 2:
            found.append(("files", int(part * needed[1])))
        else:
            found.append(("bytes", max(1, int(part * needed[0] / pages)) * pages))
    return found


def main() -> int:
    """All points, a line for each, disk_full.json; returns 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for all of it; made anew")
    parser.add_argument("--points", type=int, default=20, help="(20)")
    parser.add_argument("--shards", type=int, default=4, help="(4)")
    parser.add_argument("--records", type=int, default=16, help="of each shard (16)")
    args = parser.parse_args()
    if INSIDE not in os.environ:
        owner = [] if os.geteuid() == 0 else ["--map-root-user"]
        command = ["unshare", "--mount", *owner, sys.executable, *sys.argv]
        return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode
    shutil.rmtree(args.out, ignore_errors=True)
    runs = Runs(args.out, args.shards, args.records)
    needed = runs.needs()
    points = []
    for of, room in rooms(args.points, needed):
        points.append(runs.point(of, room))
        print(json.dumps(asdict(points[-1])), flush=True)
    report = {
        "command": "python tests/torture/disk_full.py " + " ".join(sys.argv[1:]),
        "date": time.strftime("%Y-%m-%d"),
        "held": all(point.held for point in points),
        "needed": dict(zip(("bytes", "files"), needed, strict=True)),
        "points": [asdict(point) for point in points],
    }
    (args.out / "disk_full.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({"held": report["held"], "points": len(points)}))
    return 0 if report["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
