"""Claims: files that say which process works on which slice.

They save work and nothing else. Two processes that own one slice cost time, never a wrong result.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from fcs.shards.ledger.layout import claims_folder
from fcs.shards.store.base import Store

SLICE = 8  # batches that are claimed together
STALE = 120.0  # seconds without a heartbeat after which a claim is void
HEARTBEAT = 20.0  # seconds


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
    """The claims of one process; a daemon thread touches them while they are held.

    In a store without exclusive creation two processes that ask at the same moment may both get a slice.
    """

    def __init__(self, out: Store, stale: float = STALE, heartbeat: float = HEARTBEAT) -> None:
        """Args: ``stale`` and ``heartbeat`` in seconds."""
        self.out, self.stale, self.heartbeat = out, stale, heartbeat
        self.me = {**identity(), "id": uuid.uuid4().hex}
        self._held: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, stem: str, name: str) -> bool:
        """Claim a slice; False where a living process has it, this one included.

        Raises:
            StorageError: OUT cannot be written.
        """
        path = f"{claims_folder(stem)}/{name}"
        # Each claim differs, so that an earlier one of ours is not mistaken for it.
        data = json.dumps({**self.me, "acquired": uuid.uuid4().hex}).encode()
        try:
            acquired = self.out.create(path, data, durable=False) or self._take_over(path, data)
        except FileNotFoundError:  # the shard was committed and its folder removed
            acquired = False
        if acquired:
            with self._lock:
                self._held[path] = data
                self._start()
        return acquired

    def is_free(self, stem: str, name: str) -> bool:
        """Whether ``acquire`` would succeed now: there is no claim, or that of a process which is gone."""
        path = f"{claims_folder(stem)}/{name}"
        owner = self.out.json(path)
        return self._is_stale(path, owner) or (owner is None and not self.out.exists(path))

    def release(self, stem: str, name: str) -> None:
        """Give a slice back; one that was taken over meanwhile is left alone."""
        self._release(f"{claims_folder(stem)}/{name}")

    def close(self) -> None:
        """Give everything back and end the heartbeat."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for path in list(self._held):
            self._release(path)

    def _release(self, path: str) -> None:
        with self._lock:
            held = self._held.pop(path, None)
        if held is not None and (self.out.json(path) or {}).get("id") == self.me["id"]:
            self.out.delete(path)

    def _take_over(self, path: str, data: bytes) -> bool:
        """Replace a stale claim by ours; of several processes that found it stale, one succeeds."""
        owner = self.out.json(path)
        if not self._is_stale(path, owner):
            return False
        folder, _, name = path.rpartition("/")
        lock = f"{folder}/.{name}.takeover"
        if not self.out.create(lock, data, durable=False):
            if self._older(lock):  # the process that made it was killed
                self.out.delete(lock)
            return False
        try:
            if self.out.json(path) != owner:  # another process was faster, and this is its claim
                return False
            self.out.replace(path, data)
            return True
        finally:
            self.out.delete(lock)

    def _is_stale(self, path: str, owner: dict[str, object] | None) -> bool:
        if owner is None:
            return self.out.exists(path)
        if owner.get("id") == self.me["id"]:
            return False
        return dead(owner) or _restarted(owner, self.me) or self._older(path)

    def _older(self, path: str) -> bool:
        """Not touched for long. Both times are told by the clock of the store, whatever the hosts' clocks say."""
        found = self.out.stat(path)
        return found is not None and self.out.now(path) - found.modified > self.stale

    def _start(self) -> None:
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._beat, name="fcs-claims", daemon=True)
            self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(self.heartbeat):
            for path in list(self._held):
                # A claim that was released must not come back: where touching means writing, it would.
                with self._lock, suppress(OSError):  # gone with its shard, or the store fails: writers will say so
                    if path in self._held:
                        self.out.touch(path, self._held[path])


def dead(owner: Mapping[str, object]) -> bool:
    """Whether an owner's process ran on this host since the last boot, and runs no more."""
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
