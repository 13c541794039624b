"""Rows of the tables of scores of whole sets of pictures: FID and KID, energy scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcs.tools.report.distributions import too_few
from fcs.tools.report.number_format import DASH, number


@dataclass(frozen=True)
class DistanceRow:
    """A run's distances from its references, in one network's features.

    Attributes:
        run: number of the run.
        feature: the network's name.
        fid, kid: as text, KID with its error.
        pictures: how many results, and how many references they were compared with.
        notes: caveats.
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


def distance_rows(summaries: Sequence[Mapping[str, Any]]) -> list[DistanceRow]:
    """The distances of all runs, feature by feature."""
    found = [
        _distance(run, name, values)
        for run, summary in enumerate(summaries)
        for name, values in (summary.get("features") or {}).items()
    ]
    return sorted(found, key=lambda one: (one.feature, one.run))


def energy_rows(scores: Sequence[Mapping[str, Any]]) -> list[EnergyRow]:
    """The energy scores of ``summary.json``."""
    return [
        EnergyRow(
            ", ".join(one["runs"]),
            one["feature"],
            f"{number(one['mean'])} ({number(one['low'])} to {number(one['high'])})",
            number(one["diversity"]),
            one["n"],
        )
        for one in scores
    ]


def _distance(run: int, name: str, values: Mapping[str, Any]) -> DistanceRow:
    error, nothing = values.get("kid_error"), "too few" if too_few(values) else DASH
    fid, kid = (nothing if values.get(kind) is None else number(values[kind]) for kind in ("fid", "kid"))
    kid += "" if error is None else f" ± {number(error)}"
    pictures = f"{values.get('n')} against {values.get('reference_n')}"
    return DistanceRow(run, name, fid, kid, pictures, tuple(values.get("notes") or ()))
