"""Which records a report shows: the best, median and worst by each score, a random sample, some of each failure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from fcs.tools.report.finished_run import COSTS, FinishedRun, Key
from fcs.tools.report.score_names import goal, penalty
from fcs.tools.report.score_statistics import differences

RANDOM_SHARE = 4  # one of so many shown records is drawn at random
FAILED = 3  # failed records of each code


@dataclass(frozen=True)
class SelectionReason:
    """Why a record is shown.

    Attributes:
        kind: ``best``, ``typical`` (median) or ``worst`` of a single run; ``gain``, ``usual`` (median difference) or
            ``loss`` against the first run; ``lot`` where it was drawn at random.
        score: by which score; "" where by none.
        run: number of the run that is compared with the first; 0 where there is a single run.
        rank: 0 for the best, the worst and so on, 1 for the next.
    """

    kind: str
    score: str = ""
    run: int = 0
    rank: int = 0


@dataclass
class SelectedRecord:
    """A record to show.

    Attributes:
        key: shard and key.
        reasons: why it is shown.
    """

    key: Key
    reasons: list[SelectionReason] = field(default_factory=list)


def select_records(runs: Sequence[FinishedRun], most: int) -> list[SelectedRecord]:
    """At most ``most`` records that have a result: some at random, the best, median and worst by each score.

    The most extreme come first. Several runs are compared by how they differ from the first one, on the records that
    both have.
    """
    keys = sorted(set(_with_result(runs[0])).union(*map(_with_result, runs[1:])))
    drawn = random.Random(0).sample(keys, min(len(keys), -(-most // RANDOM_SHARE)))
    found = {key: SelectedRecord(key) for key in drawn}
    for turn in zip_longest(*_candidates(runs)):
        for candidate in turn:
            if candidate is not None and (candidate[0] in found or len(found) < most):
                found.setdefault(candidate[0], SelectedRecord(candidate[0])).reasons.append(candidate[1])
        if len(found) >= most:
            break
    selected = sorted(found.values(), key=lambda one: min((reason.rank for reason in one.reasons), default=most))
    for rank, key in enumerate(drawn):
        found[key].reasons.append(SelectionReason("lot", rank=rank))
    return selected


def first_failures(run: FinishedRun) -> dict[str, list[tuple[Key, str]]]:
    """The first failed records by code: (shard, key) and the error's detail. The torn end of a shard has the key ""."""
    found: dict[str, list[tuple[Key, str]]] = {}
    for row in run.failed.select(["shard", "key", "error"]).to_pylist():
        code, _, detail = (row["error"] or "unknown").partition(":")
        samples = found.setdefault(code, [])
        if len(samples) < FAILED:
            samples.append(((row["shard"], row["key"] or ""), detail.strip()))
    return found


def _with_result(run: FinishedRun) -> list[Key]:
    rows = run.succeeded.select(["shard", "key"]).to_pydict()
    return list(zip(rows["shard"], rows["key"], strict=True))


def _candidates(runs: Sequence[FinishedRun]) -> list[Iterator[tuple[Key, SelectionReason]]]:
    """For each score, and each run after the first, records from both ends and from the middle."""
    names = [name for name in runs[0].score_names if name not in COSTS]
    if len(runs) == 1:
        orders = [(name, 0, _best_first(name, runs[0].scores(name))) for name in names]
        return [_ends_and_middle(order, ("best", "typical", "worst"), name, run) for name, run, order in orders]
    found = []
    for name in names:
        for number, run in enumerate(runs[1:], 1):
            order = _most_improved_first(run, runs[0], name)
            found.append(_ends_and_middle(order, ("gain", "usual", "loss"), name, number))
    return found


def _best_first(name: str, scores: Mapping[Key, float]) -> list[Key]:
    return sorted(scores, key=lambda key: penalty(name, scores[key]))


def _most_improved_first(run: FinishedRun, first: FinishedRun, name: str) -> list[Key]:
    """The records that both have, those first where the run is better by most; by value where better is unknown."""
    here, there = run.scores(name), first.scores(name)
    sign = -1 if goal(name) == "unknown" else 1
    return sorted(
        differences(run, first, name), key=lambda key: sign * (penalty(name, here[key]) - penalty(name, there[key]))
    )


def _ends_and_middle(
    order: Sequence[Key], kinds: tuple[str, str, str], name: str, run: int
) -> Iterator[tuple[Key, SelectionReason]]:
    """Best, worst and middle in turn, each record of the order at most once."""
    middle = len(order) // 2
    around = sorted(range(len(order)), key=lambda place: abs(place - middle))
    seen: set[int] = set()
    for rank, central in enumerate(around):
        for place, kind in ((rank, kinds[0]), (len(order) - 1 - rank, kinds[2]), (central, kinds[1])):
            if place not in seen:
                seen.add(place)
                yield order[place], SelectionReason(kind, name, run, rank)
