"""The status of a run: its shards, its processes, and what follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fcs.shards.ledger.claims import SLICE

BATCH = 16  # records, where no process has reported its batch size yet

ProcessState = Literal["working", "idle", "lost", "ended"]


@dataclass(frozen=True)
class ShardStatus:
    """A shard of the run.

    Attributes:
        stem: its name.
        size: number of its records that belong to the run; None where it is unknown without opening the shard.
        counts: from its commit record; None where it is not committed.
        failures: number of failed records by code, from its commit record or its parts.
        spans: records (first, last) that are in parts, sorted and disjoint.
    """

    stem: str
    size: int | None
    counts: Mapping[str, int] | None
    failures: Mapping[str, int]
    spans: tuple[tuple[int, int], ...]

    @property
    def failed(self) -> int:
        """Records with a named failure."""
        return sum(self.failures.values()) if self.counts is None else self.counts["failed"]

    @property
    def done(self) -> int:
        """Records with a result."""
        covered = sum(last - first + 1 for first, last in self.spans)
        return covered - self.failed if self.counts is None else self.counts["ok"]

    def slices(self, batch: int) -> int:
        """Number of slices with missing records, for batches of this size; 1 where it only has to be committed."""
        if self.counts is not None:
            return 0
        step, size = SLICE * batch, self.size or 0
        pieces = ((start, min(start + step, size)) for start in range(0, size, step))
        return max(1, sum(_covered(self.spans, *piece) < piece[1] - piece[0] for piece in pieces))


@dataclass(frozen=True)
class ProcessStatus:
    """A process that works on the run, or has worked on it.

    Attributes:
        id: host, pid and a few letters.
        job, task: SLURM's, "" elsewhere.
        state: ``working``: has a claim with a heartbeat; ``idle``: has no claim but wrote within the last two minutes;
            ``lost``: has claims without a heartbeat; ``ended``: everything else.
        done, failed: number of records that it wrote.
        rate: records a second since it started; None before its first batch.
        silent: seconds since its last batch; None before its first.
        straggler: whether it works at less than half the median rate, or wrote nothing in the time of three batches.
        started: seconds since the epoch.
        array: number of tasks of its job array, 0 without.
        batch: number of records of its largest batch.
    """

    id: str
    job: str
    task: str
    state: ProcessState
    done: int
    failed: int
    rate: float | None
    silent: float | None
    straggler: bool
    started: float
    array: int
    batch: int


@dataclass(frozen=True)
class RunStatus:
    """A run at one moment.

    Attributes:
        shards: those that hold its records.
        processes: sorted by start.
        damaged: STEMs of shards that were committed, and whose files are gone or have another size.
    """

    shards: tuple[ShardStatus, ...]
    processes: tuple[ProcessStatus, ...]
    damaged: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all shards are committed."""
        return all(shard.counts is not None for shard in self.shards)

    @property
    def done(self) -> int:
        """Records with a result, committed or in parts."""
        return sum(shard.done for shard in self.shards)

    @property
    def failed(self) -> int:
        """Records with a named failure, committed or in parts."""
        return sum(shard.failed for shard in self.shards)

    @property
    def total(self) -> int | None:
        """Number of records of the run; None where a shard's is unknown without opening it."""
        sizes = [shard.size for shard in self.shards if shard.size is not None]
        return sum(sizes) if len(sizes) == len(self.shards) else None

    @property
    def missing(self) -> int | None:
        """Number of records with neither a result nor a named failure."""
        return None if self.total is None else max(0, self.total - self.done - self.failed)

    @property
    def failures(self) -> dict[str, int]:
        """Number of failed records by code."""
        codes: Counter[str] = Counter()
        for shard in self.shards:
            codes.update(shard.failures)
        return dict(sorted(codes.items()))

    @property
    def rate(self) -> float | None:
        """Records a second of all working processes together; None where none has finished a batch."""
        rates = [p.rate for p in self.processes if p.state == "working" and p.rate is not None]
        return sum(rates) if rates else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all is done at this rate."""
        return None if self.missing is None or not self.rate else self.missing / self.rate

    @property
    def slices(self) -> int:
        """Number of slices to do, with the batch size of the latest process; one for a shard of unknown size."""
        sizes = [process.batch for process in self.processes if process.batch]
        return sum(shard.slices(sizes[-1] if sizes else BATCH) for shard in self.shards)

    @property
    def array(self) -> str | None:
        """The SLURM array expression that finishes the run; None where nothing is left to do.

        As many tasks as the last array had, but not more than there are slices to do, if their number is known.
        """
        if self.complete:
            return None
        last = next((process.array for process in reversed(self.processes) if process.array), 0)
        tasks = last if last and self.total is None else min(last or self.slices, self.slices)
        return f"0-{tasks - 1}"

    def as_json(self) -> dict[str, Any]:
        """The status as plain data."""
        records = {name: getattr(self, name) for name in ("total", "done", "missing", "failed", "failures")}
        committed = sum(shard.counts is not None for shard in self.shards)
        return {
            "complete": self.complete,
            "records": records,
            "shards": {"total": len(self.shards), "committed": committed, "damaged": list(self.damaged)},
            "slices": self.slices,
            "array": self.array,
            "rate": self.rate,
            "seconds_left": self.seconds_left,
            "processes": [asdict(process) for process in self.processes],
        }


def _covered(spans: Sequence[tuple[int, int]], first: int, stop: int) -> int:
    """Number of records from ``first`` to before ``stop`` that the spans hold."""
    return sum(max(0, min(high + 1, stop) - max(low, first)) for low, high in spans)
