"""Scores of whole sets of pictures: FID and KID against references, energy scores of runs that differ in their seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcs.core.errors import UsageError
from fcs.core.intervals import bootstrap_interval
from fcs.metrics.distances import Array, FeatureMoments, fid, kid, told
from fcs.metrics.energy import diversity, energy_scores
from fcs.metrics.judge import REFERENCE
from fcs.shards.ledger.features import ShardFeatures, feature_counts, read_features
from fcs.shards.ledger.pinned_run import read_run
from fcs.shards.store.base import Store

FEWEST = 64  # pictures of each set; with fewer, FID and KID say more of the draw than of the run
KID_MOST = 5000  # pictures of each set that KID uses, since its cost grows with their square
Kept = dict[str, dict[str, int]]


@dataclass
class FeatureSample:
    """What FID and KID need of a set's features, collected shard by shard.

    Attributes:
        every: KID uses one picture of so many.
        moments: of all pictures, for FID.
        chosen: features for KID.
    """

    every: int
    moments: FeatureMoments | None = None
    chosen: list[Array] = field(default_factory=list)

    def add(self, values: NDArray[np.float16]) -> None:
        """Add the features of a shard."""
        features = values.astype(np.float64)
        before = 0 if self.moments is None else self.moments.n
        self.chosen.append(features[-before % self.every :: self.every])
        moments = FeatureMoments.of(features)
        self.moments = moments if self.moments is None else self.moments + moments


@dataclass(frozen=True)
class EnergyScore:
    """Energy scores of the records that several runs have in common.

    Attributes:
        runs: names of the runs, which differ only in their seed.
        feature: name of the features.
        records: (STEM, place in the shard) of each.
        scores: ``(N,)``, smaller is better.
        diversity: ``(N,)``, the mean distance of two runs' results.
    """

    runs: tuple[str, ...]
    feature: str
    records: list[tuple[str, int]]
    scores: Tensor
    diversity: Tensor

    def as_json(self) -> dict[str, Any]:
        """For ``summary.json``: means, and the 95 % interval over records."""
        mean, low, high = bootstrap_interval(self.scores, torch.arange(len(self.scores)))
        found = {"runs": list(self.runs), "feature": self.feature, "mean": mean, "low": low, "high": high}
        return {**found, "n": len(self.scores), "diversity": self.diversity.mean().item()}


def feature_distances(out: Store, reference: Store | None = None) -> dict[str, dict[str, Any]]:
    """FID and KID in each of a run's features over its committed shards, in float64.

    Args:
        out: the run.
        reference: another run, whose references are the set to compare with; by default the run's own.

    Returns:
        ``{NAME: {n, reference_n, fid, fid_dimensions, kid, kid_error, notes}}``; empty where a run keeps no features.

    Raises:
        UsageError: OUT has no pinned run, the reference no such features.
        StorageError: a file is missing or damaged.
    """
    there = feature_counts(out)
    return {name: _distance(out, name, reference) for name in sorted(there) if not name.endswith(REFERENCE)}


def too_few(found: Mapping[str, Any]) -> bool:
    """Whether an entry of ``feature_distances`` has no distances because its sets are too small."""
    return bool(found["reference_n"]) and min(found["n"], found["reference_n"]) < FEWEST


def _distance(out: Store, name: str, reference: Store | None) -> dict[str, Any]:
    made = _feature_sample(out, name)
    true = _feature_sample(out if reference is None else reference, name + REFERENCE)
    if reference is not None and true.moments is None:
        raise UsageError.of("--reference", reference, f"a run that kept {name} features of its records' pictures")
    n, reference_n = (0 if one.moments is None else one.moments.n for one in (made, true))
    missing = dict.fromkeys(("fid", "fid_dimensions", "kid", "kid_error"))
    found: dict[str, Any] = {"n": n, "reference_n": reference_n, **missing}
    if made.moments is None or true.moments is None or min(n, reference_n) < FEWEST:
        few = f"{n} pictures against {reference_n} are too few, expected {FEWEST} of each"
        why = few if reference_n else "no reference; --reference names a run that has one"
        return {**found, "notes": [f"no FID and KID: {why}"]}
    if len(made.moments.mean) != len(true.moments.mean):
        raise UsageError.of("--reference", reference, f"a run whose {name} features are of the same network")
    found["fid"], found["fid_dimensions"] = fid(made.moments, true.moments)
    found["kid"], found["kid_error"] = kid(np.concatenate(made.chosen), np.concatenate(true.chosen))
    notes = list(told(made.moments, true.moments))
    if max(made.every, true.every) > 1:
        notes.append(f"KID of every {made.every}. picture against every {true.every}. of the reference")
    return {**found, "notes": notes}


def _feature_sample(out: Store, name: str) -> FeatureSample:
    """A run's features of that name; what KID takes of them is spread evenly over all."""
    stems = feature_counts(out).get(name, {})
    gathered = FeatureSample(max(1, -(-sum(stems.values()) // KID_MOST)))
    for piece in read_features(out, name, stems):
        gathered.add(piece.values)
    return gathered


def energy_scores_over_seeds(outs: Mapping[str, Store]) -> list[EnergyScore]:
    """Energy scores, in each feature, of runs that repeat one another with other seeds.

    Runs belong together if their pinned settings differ only in the seed. A record counts if all of them have it, and
    its reference.

    Args:
        outs: the runs by name.

    Raises:
        UsageError: a folder has no pinned run.
        StorageError: a file is missing or damaged.
    """
    groups: dict[str, dict[str, Store]] = {}
    for name, out in outs.items():
        groups.setdefault(_without_seed(read_run(out)), {})[name] = out
    return [energy for group in groups.values() if len(group) > 1 for energy in _of_group(group)]


def _without_seed(run: Mapping[str, Any]) -> str:
    settings = {key: value for key, value in run["settings"].items() if key != "seed"}
    return json.dumps([settings, [shard["stem"] for shard in run["shards"]], run.get("limit")], sort_keys=True)


def _of_group(group: Mapping[str, Store]) -> list[EnergyScore]:
    runs = list(group.values())
    listed = [feature_counts(out) for out in runs]
    names = [name for name in sorted(listed[0]) if name + REFERENCE in listed[0]]
    found = [_energy(tuple(group), runs, listed, name) for name in names]
    return [energy for energy in found if energy.records]


def _energy(names: tuple[str, ...], runs: Sequence[Store], listed: Sequence[Kept], name: str) -> EnergyScore:
    """Shard by shard: only one shard's features of each run are in memory."""
    stems = [stem for stem in listed[0][name] if all(stem in one.get(name, {}) for one in listed)]
    every: list[tuple[str, int]] = []
    scores, apart = [torch.zeros(0, dtype=torch.float64)], [torch.zeros(0, dtype=torch.float64)]
    for stem in stems:
        shards = [_by_index(read_features(out, name, [stem])) for out in runs]
        shards.append(_by_index(read_features(runs[0], name + REFERENCE, [stem])))
        common = sorted(set.intersection(*(set(shard) for shard in shards)))
        if common:
            *samples, truth = (torch.from_numpy(np.stack([shard[i] for i in common])).double() for shard in shards)
            every += [(stem, index) for index in common]
            scores.append(energy_scores(torch.stack(samples), truth))
            apart.append(diversity(torch.stack(samples)))
    return EnergyScore(names, name, every, torch.cat(scores), torch.cat(apart))


def _by_index(found: Any) -> dict[int, NDArray[np.float16]]:
    piece: ShardFeatures | None = next(iter(found), None)
    return {} if piece is None else dict(zip(piece.indexes.tolist(), piece.values, strict=True))
