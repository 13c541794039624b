"""What sets of results are held against: training pictures that hold none of the pixels that were given."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from build_digits import training_digits
from emoji.dataset import Dataset
from numpy.typing import NDArray
from torch import Tensor

from fcs.bench.figures import extractors
from fcs.bench.tasks import DATA, Setup
from fcs.bench.truth import Truth
from fcs.core.images import to_float, to_uint8
from fcs.metrics.distances import FeatureMoments, fid, kid

BATCH = 256
LEAST = 3  # results for which the distances exist
SEED = 0  # of the glyphs' renderings


def distances(pictures: Tensor, setup: Setup, truth: Truth) -> tuple[dict[str, float | None], str]:
    """KID with its error and FID of uint8 ``(N, C, H, W)`` in the model's own features, and what is to be known of it.

    All None where there are too few pictures, no features of the model's own or no training data.
    """
    missing: dict[str, float | None] = {"kid": None, "kid_error": None, "fid": None}
    if len(pictures) < LEAST:
        return missing, "too few records for KID and FID"
    names = frozenset(str(fact.get("name")) for fact in truth.facts)
    reference = training_features(setup.family, names)
    if reference is None:
        return missing, "no features or no training data for KID and FID"
    made = own_features(pictures)
    value, error = kid(made, reference)
    distance, dimensions = fid(FeatureMoments.of(made), FeatureMoments.of(reference))
    return {"kid": value, "kid_error": error, "fid": distance}, f"FID in {dimensions} dimensions"


@cache
def training_features(family: str, without: frozenset[str]) -> NDArray[np.float64] | None:
    """Own features ``(N, F)`` of the training pictures; of the emoji only other glyphs than those named."""
    if family == "digits":
        return own_features(torch.from_numpy(training_digits()[0].copy()).unsqueeze(1))
    folder = DATA["emoji"].parent
    if family != "emoji" or not (folder / "bitmaps.npz").exists():
        return None
    return own_features(training_glyphs(folder, without))


def training_glyphs(folder: Path, without: frozenset[str]) -> Tensor:
    """A rendering of each training glyph but those named, uint8 ``(N, 3, 64, 64)``."""
    dataset = Dataset.load(folder)
    kept = [i for i in dataset.indices("train").tolist() if dataset.entries[i].prompt not in without]
    renderer, generator = dataset.renderer(), torch.Generator().manual_seed(SEED)
    chosen = torch.tensor(kept).split(BATCH)
    return torch.cat([to_uint8(renderer(part, generator)) for part in chosen])


@torch.no_grad()
def own_features(pictures: Tensor) -> NDArray[np.float64]:
    """Features ``(N, F)`` of uint8 pictures ``(N, C, H, W)``, in float64."""
    features: Callable[[Tensor], Tensor] = extractors(pictures)[0][1]
    found = [features(to_float(part)) for part in pictures.split(BATCH)]
    return torch.cat(found).double().numpy()
