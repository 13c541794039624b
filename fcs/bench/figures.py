"""Figures of each record, from the results of several seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fcs.bench.posterior import Readings, describes, readings_of
from fcs.bench.truth import Truth
from fcs.core.images import to_float
from fcs.metrics.attributes import DESCRIPTION, World, read_folder
from fcs.metrics.energy import diversity, energy_scores
from fcs.metrics.features import WEIGHTS, DigitsClassifier, RandomFeatures
from fcs.metrics.image_scores import scores
from fcs.metrics.seam import seam
from fcs.models.clip import ImageTower

CLIP = WEIGHTS / "emoji-64" / "clip"
DIGITS = (1, 16, 16)  # (C, H, W) of the pictures that the embedded classifier knows
FACES = (3, 64, 64)
FACES_CLASSIFIER = WEIGHTS / "faces-64" / "classifier"


def judge(samples: Tensor, truth: Truth) -> dict[str, Tensor]:
    """Figures of each record, ``(N,)``, for uint8 samples ``(S, N, C, H, W)``; NaN where one does not exist.

    The energy score and the diversity are of two samples or more, and missing where there is one.
    """
    figures: dict[str, Tensor] = {}
    for name, features in extractors(truth.pictures, truth.facts) if len(samples) > 1 else []:
        phi = torch.stack([features(to_float(one)) for one in samples])
        figures[f"energy_{name}"] = energy_scores(phi, features(to_float(truth.pictures)))
        figures[f"diversity_{name}"] = diversity(phi)
    figures["retrieval"] = retrieval(samples, truth)
    figures["seam_truth"] = seam(truth.pictures, truth.masks)
    figures["psnr"] = psnr(samples, truth.pictures)
    mean = samples.float().mean(0).round().byte()
    for label, pictures in (("one_seed", samples[0]), ("mean_of_seeds", mean)):
        rows = scores(pictures, truth.pictures, truth.masks)
        for name in rows[0]:
            figures[f"{name}_{label}"] = torch.tensor([math.nan if row[name] is None else row[name] for row in rows])
    return figures


def retrieval(samples: Tensor, truth: Truth) -> Tensor:
    """How often each record's results point to its truth, ``(N,)`` in 0 to 1.

    Digits: the classifier finds the true class. Others: of all truths, its own is the nearest in the first features.
    """
    if truth.pictures.shape[1:] == DIGITS and all(fact.get("class") in range(10) for fact in truth.facts):
        classes = torch.tensor([fact["class"] for fact in truth.facts])
        classifier = DigitsClassifier.load()
        right = torch.stack([classifier(to_float(one)).argmax(1) == classes for one in samples])
        return right.double().mean(0)
    features = extractors(truth.pictures, truth.facts)[0][1]
    candidates = features(to_float(truth.pictures))
    nearest = torch.stack([torch.cdist(features(to_float(one)), candidates).argmin(1) for one in samples])
    return (nearest == torch.arange(len(candidates))).double().mean(0)


def read_attributes(samples: Tensor, truth: Truth) -> Readings | None:
    """What the embedded classifier of faces reads of uint8 samples ``(S, N, C, H, W)``.

    None for other pictures, and where the records do not say which attributes are shown.
    """
    if not faces(truth.pictures, truth.facts):
        return None
    classifier, world = read_folder(FACES_CLASSIFIER)
    found = torch.stack([classifier.predict(to_float(one)) for one in samples]).numpy()
    return readings_of(world, found, classifier.predict(to_float(truth.pictures)).numpy(), truth.facts)


def psnr(samples: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB of each record, mean over its samples, ``(N,)``; NaN where one is its truth."""
    error = (samples.float() - truth.float()).div(255).square().flatten(2).mean(2)
    found = -10 * error.double().log10().mean(0)
    return found.where(found.isfinite(), math.nan)


def faces(pictures: Tensor, facts: Sequence[dict[str, Any]]) -> bool:
    """Whether pictures are of the world that the embedded classifier of faces reads, by their size and their JSON."""
    return pictures.shape[1:] == FACES and describes(World.read(FACES_CLASSIFIER / DESCRIPTION), facts)


def extractors(truth: Tensor, facts: Sequence[dict[str, Any]] = ()) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
    """``own``: of an embedded classifier or CLIP, where they fit; ``random``: of a random network, for all.

    Args:
        truth: pictures ``(N, C, H, W)``.
        facts: each one's JSON, by which faces are known.
    """
    channels = truth.shape[1]
    found: list[tuple[str, Callable[[Tensor], Tensor]]] = [("random", RandomFeatures(channels).features)]
    if truth.shape[1:] == DIGITS:
        found.insert(0, ("own", DigitsClassifier.load().features))
    elif faces(truth, facts):
        found.insert(0, ("own", read_folder(FACES_CLASSIFIER)[0].embed))
    elif channels == 3 and (CLIP / "config.json").exists():
        found.insert(0, ("own", ImageTower(CLIP).embed))
    return found
