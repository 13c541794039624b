"""What runs gave as sets: distances to the reference's features, energy scores of runs that differ in their seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcs.tools.report.charts import ABSENT, number


@dataclass(frozen=True)
class Distance:
    """A run's distances in one network's features.

    Attributes:
        run: number of the run.
        feature: the network's name.
        fid, kid: with KID's error.
        pictures: results, and pictures that they were compared with.
        notes: what is to be known of them.
    """

    run: int
    feature: str
    fid: str
    kid: str
    pictures: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class EnergyRow:
    """The energy score of a group of runs.

    Attributes:
        runs: their names.
        feature: the network's name.
        score: mean and interval; smaller is better.
        diversity: mean distance of two runs' results.
        records: number of records.
    """

    runs: str
    feature: str
    score: str
    diversity: str
    records: int


def distances(summaries: Sequence[Mapping[str, Any]]) -> list[Distance]:
    """The distances of all runs, feature by feature."""
    found = [
        _distance(run, name, values)
        for run, summary in enumerate(summaries)
        for name, values in (summary.get("features") or {}).items()
    ]
    return sorted(found, key=lambda one: (one.feature, one.run))


def energies(facts: Sequence[Mapping[str, Any]]) -> list[EnergyRow]:
    """The energy scores as ``summary.json`` has them, for people."""
    return [
        EnergyRow(
            ", ".join(one["runs"]),
            one["feature"],
            f"{number(one['mean'])} ({number(one['low'])} to {number(one['high'])})",
            number(one["diversity"]),
            one["n"],
        )
        for one in facts
    ]


def _distance(run: int, name: str, values: Mapping[str, Any]) -> Distance:
    error = values.get("kid_error")
    kid = _text(values.get("kid")) + ("" if error is None else f" ± {number(error)}")
    pictures = f"{values.get('n')} against {values.get('reference_n')}"
    return Distance(run, name, _text(values.get("fid")), kid, pictures, tuple(values.get("notes") or ()))


def _text(value: float | None) -> str:
    return ABSENT if value is None else number(value)
