"""Claims: who works on which slice. They save work and nothing else; two owners of a slice cost time only."""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from fcs.shards.files import link, read_json, storage, temp_name
from fcs.shards.layout import claims_folder

SLICE = 8  # batches that are claimed together
STALE = 120.0
HEARTBEAT = 20.0


def identity() -> dict[str, str | int]:
    """Who this process is: host, boot, pid, and the SLURM job where there is one.

    Of the job its restart count; of an array also the task and how many tasks there are (0 without an array).
    """
    return {
        "host": socket.gethostname(),
        "boot_id": _boot(),
        "pid": os.getpid(),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "restart": int(os.environ.get("SLURM_RESTART_COUNT") or 0),
        "task": os.environ.get("SLURM_ARRAY_TASK_ID", ""),
        "array": int(os.environ.get("SLURM_ARRAY_TASK_COUNT") or 0),
    }


class Claims:
    """The claims of one process; a daemon thread touches them while they are held."""

    def __init__(self, out: Path, stale: float = STALE, heartbeat: float = HEARTBEAT) -> None:
        """Args: ``stale`` and ``heartbeat`` in seconds."""
        self.out, self.stale, self.heartbeat = out, stale, heartbeat
        self.me = {**identity(), "id": uuid.uuid4().hex}
        self._held: dict[tuple[str, str], Path] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, stem: str, name: str) -> bool:
        """Claim a slice; False where a living process has it (this one too).

        Raises:
            StorageError: OUT cannot be written.
        """
        path = claims_folder(self.out, stem) / name
        with storage(path):
            taken = self._create(path)
        if taken:
            with self._lock:
                self._held[stem, name] = path
                self._start()
        return taken

    def release(self, stem: str, name: str) -> None:
        """Give a slice back; one that was taken over meanwhile is left alone."""
        with self._lock:
            path = self._held.pop((stem, name), None)
        if path is not None and (read_json(path) or {}).get("id") == self.me["id"]:
            with storage(path), suppress(FileNotFoundError):
                os.unlink(path)

    def close(self) -> None:
        """Give everything back and end the heartbeat."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for stem, name in list(self._held):
            self.release(stem, name)

    def _create(self, path: Path) -> bool:
        temp = temp_name(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temp.write_text(json.dumps(self.me))
            if link(temp, path):
                return True
            owner = read_json(path)
            return self._is_stale(path, owner, temp) and self._take_over(path, owner, temp)
        except FileNotFoundError:  # the shard was committed and its folder removed
            return False
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temp)

    def _is_stale(self, path: Path, owner: dict[str, object] | None, fresh: Path) -> bool:
        if owner is None:
            return path.exists()
        if owner.get("id") == self.me["id"]:
            return False
        if dead(owner) or _restarted(owner, self.me):
            return True
        return self._older(path, fresh)

    def _older(self, path: Path, fresh: Path) -> bool:
        """Not touched for long. Both times are of the file server's one clock, whatever the hosts' say."""
        return os.stat(fresh).st_mtime - os.stat(path).st_mtime > self.stale

    def _take_over(self, path: Path, owner: dict[str, object] | None, temp: Path) -> bool:
        """Put our claim in the place of a stale one; of several processes that saw it one succeeds."""
        lock = path.with_name(f".{path.name}.takeover")
        if not link(temp, lock):
            if self._older(lock, temp):  # whoever had it was killed
                os.unlink(lock)
            return False
        try:
            if read_json(path) != owner:  # someone was faster, and this is already the new claim
                return False
            os.replace(temp, path)
            return True
        finally:
            os.unlink(lock)

    def _start(self) -> None:
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._beat, name="fcs-claims", daemon=True)
            self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(self.heartbeat):
            with self._lock:
                paths = list(self._held.values())
            for path in paths:
                with suppress(OSError):  # gone with its shard, or the store is away: the writers will say so
                    os.utime(path)


def dead(owner: Mapping[str, object]) -> bool:
    """Whether an owner's process ran on this host since it was started, and runs no more."""
    me, pid = identity(), owner.get("pid")
    here = bool(me["boot_id"]) and all(owner.get(name) == me[name] for name in ("host", "boot_id"))
    if not here or not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _zombie(pid)


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def _restarted(owner: dict[str, object], me: dict[str, str | int]) -> bool:
    then, now = owner.get("restart"), me["restart"]
    same = bool(me["job"]) and owner.get("job") == me["job"]
    return same and isinstance(then, int) and isinstance(now, int) and then < now


def _boot() -> str:
    """Boot and process namespace: a pid means the same process only where both agree."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
