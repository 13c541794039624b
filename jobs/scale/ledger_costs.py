"""What the ledger of a run asks of its store, counted and timed without a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from statistics import median

from fcs.shards.input.sources import Source
from fcs.shards.ledger.claims import SLICE
from fcs.shards.ledger.layout import SHARDS
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import describe, fingerprint, pin
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.base import Store
from scale.committed_run import committed_run
from scale.costs import Costs
from scale.meters import Meter, Reading

LOOKS = 4  # shards, of which each costs the same
FEW, MANY = 20, 220  # committed shards of two starts
SLICES = (1, 3, 1)  # of three shards; the last one's commit ends the run
FINGERPRINT = fingerprint({})


def book(store: Store, counts: Sequence[int], batch: int, world: int = 1, rank: int = 0) -> Ledger:
    """The ledger of a run without pictures to sample, with shards of so many records."""
    sources = [Source(f"/in/{number:06d}.tar", f"{number:06d}", 1, 1.0) for number in range(len(counts))]
    pin(store, describe({}, sources, None))
    return Ledger(store, sources, batch, lambda number: counts[number], fingerprint=FINGERPRINT, world=world, rank=rank)


def rows(wanted: Sequence[int], size: int) -> list[Row]:
    """Results of so many bytes each."""
    return [Row(i, f"r{i}", None, i, 1, 1.0, 0.0, {}, ((f"r{i}.png", os.urandom(size)),)) for i in wanted]


def ledger_costs(meter: Meter, batch: int, size: int) -> Costs:
    """Costs of the ledger on the stores of a meter, for batches of so many records of ``size`` bytes."""
    given: list[Reading] = []
    written: list[Reading] = []
    with closing(book(meter.store("run"), [SLICE * batch * slices for slices in SLICES], batch)) as ledger:
        walk = ledger.tasks()
        for _ in range(SLICE * sum(SLICES)):
            with meter.counted(given):
                item = next(walk)
            assert item is not None
            made = rows(item.wanted, size)
            with meter.counted(written):
                ledger.finish(item.source, item.batch, made)
    within = [given[number] for number in range(len(given)) if number % SLICE]
    plain = [written[number] for number in range(len(written)) if number % SLICE != SLICE - 1]
    mark, write = _middle(within), _middle(plain)
    taken, kept, small, large = given[2 * SLICE], written[2 * SLICE - 1], written[SLICE - 1], written[4 * SLICE - 1]
    merged = (large.operations - small.operations) / (2 * SLICE)
    starts = [_start(meter, count, batch) for count in (FEW, MANY)]
    committed = (starts[1] - starts[0]) / (MANY - FEW)
    return Costs(
        start=starts[0] - committed * FEW,
        committed=committed,
        learn=_learn(meter, MANY) / MANY,
        met=_met(meter, batch),
        slice=taken.operations - mark.operations + kept.operations - write.operations,
        part=write.operations + mark.operations,
        shard=small.operations - kept.operations - merged * SLICE,
        merged=merged,
        look=(_looks(meter, batch, 1 + LOOKS) - _looks(meter, batch, 1)) / LOOKS,
        slice_seconds=max(0.0, taken.seconds - mark.seconds + kept.seconds - write.seconds),
        part_seconds=write.seconds + mark.seconds,
        shard_seconds=max(0.0, small.seconds - kept.seconds),
        list_seconds=_list(meter, MANY),
        merge=max(0.0, large.seconds - small.seconds) / (2 * SLICE * batch),
    )


def _middle(found: Sequence[Reading]) -> Reading:
    return Reading(round(median(one.operations for one in found)), median(one.seconds for one in found))


def _looks(meter: Meter, batch: int, shards: int) -> float:
    """Operations of a process that waits, in so many shards of one slice that another one has."""
    found: list[Reading] = []
    store, counts = meter.store(f"look-{shards}"), [SLICE * batch] * shards
    with closing(book(store, counts, batch)) as busy, closing(book(store, counts, batch)) as idle:
        walk = busy.tasks()
        for _ in range((shards - 1) * SLICE + 1):  # a batch of the last one's slice
            next(walk)
        for _ in range(2):  # a start, and one more look
            with meter.counted(found):
                assert next(idle.tasks(), None) is None
        walk.close()
    return found[-1].operations


def _met(meter: Meter, batch: int) -> float:
    """Operations of a process for each shard that another one has committed since it looked."""
    found: list[Reading] = []
    store, counts = meter.store("met"), [batch] * (LOOKS + 1)
    with closing(book(store, counts, batch)) as busy, closing(book(store, counts, batch)) as idle:
        for item in islice(busy.tasks(), LOOKS):
            assert item is not None
            busy.finish(item.source, item.batch, rows(item.wanted, 1))
        for _ in range(2):
            with meter.counted(found):
                assert not idle.complete()
    return (found[0].operations - found[1].operations) / LOOKS


def _start(meter: Meter, committed: int, batch: int) -> float:
    """Operations of a process that comes to a run with so many committed shards, until it has its first batch."""
    store = meter.store(f"start-{committed}")
    committed_run(store.replace, committed, 1)
    counts = [1000] * committed + [batch]
    found: list[Reading] = []
    for _ in range(2):  # the first writes the manifest
        with closing(book(store, counts, batch)) as ledger, meter.counted(found):
            ledger.load_commits()
            ledger.totals()
            assert next(ledger.tasks()) is not None
    return found[1].operations


def _learn(meter: Meter, shards: int) -> float:
    found: list[Reading] = []
    store = meter.store(f"start-{shards}")
    with meter.counted(found):
        store.below(SHARDS)
    return found[0].operations


def _list(meter: Meter, shards: int) -> float:
    """Seconds to list 1000 files with their sizes."""
    found: list[Reading] = []
    store = meter.store(f"start-{shards}")
    for _ in range(3):
        with meter.counted(found):
            names = len(store.tree(SHARDS))
    return median(one.seconds for one in found) * 1000 / names
