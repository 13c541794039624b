"""KID and FID: sets of results against reference pictures that hold none of the pixels that were given."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcs.bench.figures import extractors
from fcs.bench.truth import Truth, read_truth
from fcs.core.images import to_float
from fcs.metrics.distances import FeatureMoments, fid, kid
from fcs.shards.input.decode import Format
from fcs.shards.input.sources import resolve

BATCH = 256
LEAST = 3  # results for which the distances exist


def distances(pictures: Tensor, truth: Truth, shards: str | None) -> tuple[dict[str, float | None], str]:
    """KID with its error and FID of uint8 ``(N, C, H, W)``, and what is to be known of them; None where there are none.

    Args:
        pictures: results, one for each record.
        truth: the records.
        shards: glob of the reference shards, None for none; pictures in them whose JSON has the ``name`` of one of
            the records are left out.
    """
    missing: dict[str, float | None] = {"kid": None, "kid_error": None, "fid": None}
    if shards is None:
        return missing, "no KID or FID without --reference"
    names = frozenset(fact["name"] for fact in truth.facts if "name" in fact)
    reference = reference_features(shards, pictures.shape[1:], names)
    if min(len(pictures), len(reference)) < LEAST:
        return missing, "too few pictures for KID and FID"
    made = features_of(pictures, truth.facts)
    value, error = kid(made, reference)
    distance, dimensions = fid(FeatureMoments.of(made), FeatureMoments.of(reference))
    return {"kid": value, "kid_error": error, "fid": distance}, f"FID in {dimensions} dimensions"


@cache
def reference_features(shards: str, shape: torch.Size, without: frozenset[str]) -> NDArray[np.float64]:
    """Features ``(N, F)`` of the pictures in reference shards, brought to the shape ``(C, H, W)`` of the records'."""
    found = read_truth(resolve(shards), Format(shape[0], shape[1], shape[2], "crop"))
    kept = torch.tensor([fact.get("name") not in without for fact in found.facts])
    return features_of(found.pictures[kept], found.facts)


@torch.no_grad()
def features_of(pictures: Tensor, facts: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Features ``(N, F)`` of uint8 pictures ``(N, C, H, W)``, in float64: the first that ``extractors`` has."""
    _, features = extractors(pictures, facts)[0]
    parts = torch.split(pictures, BATCH)
    return torch.cat([features(to_float(part)) for part in parts]).double().numpy()
