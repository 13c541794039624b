"""Figures of each record, and their means with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fcs.bench.truth import Truth
from fcs.core.images import to_float
from fcs.core.intervals import bootstrap_interval
from fcs.metrics.energy import diversity, energy_scores
from fcs.metrics.features import WEIGHTS, DigitsClassifier, RandomFeatures
from fcs.metrics.image_scores import scores
from fcs.metrics.seam import seam
from fcs.models.clip import ImageTower

CLIP = WEIGHTS / "emoji-64" / "clip"
STYLED = ("style", "clip")  # of rows, where there is no truth: distance to the style, nearness to the prompt
PAIRED = ("energy_own", "energy_random", "retrieval", *STYLED, "psnr")  # figures that are kept for each record


def judge(samples: Tensor, truth: Truth) -> dict[str, Tensor]:
    """Figures of each record, ``(N,)``, for uint8 samples ``(S, N, C, H, W)``; NaN where one does not exist.

    The energy score and the diversity are of two samples or more, and missing where there is one.
    """
    figures: dict[str, Tensor] = {}
    for name, features in extractors(truth.pictures) if len(samples) > 1 else []:
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

    Digits: the classifier finds the true class. Others: of all truths, its own is the nearest in the own features.
    """
    if all("class" in fact for fact in truth.facts):
        classes = torch.tensor([fact["class"] for fact in truth.facts])
        classifier = DigitsClassifier.load()
        right = torch.stack([classifier(to_float(one)).argmax(1) == classes for one in samples])
        return right.double().mean(0)
    features = extractors(truth.pictures)[0][1]
    candidates = features(to_float(truth.pictures))
    nearest = torch.stack([torch.cdist(features(to_float(one)), candidates).argmin(1) for one in samples])
    return (nearest == torch.arange(len(candidates))).double().mean(0)


def psnr(samples: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB of each record, mean over its samples, ``(N,)``; NaN where one is its truth."""
    error = (samples.float() - truth.float()).div(255).square().flatten(2).mean(2)
    found = -10 * error.double().log10().mean(0)
    return found.where(found.isfinite(), math.nan)


def extractors(truth: Tensor) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
    """The model's own features where there are some, and a random network's as a check."""
    channels, side = truth.shape[1], truth.shape[2]
    found = [("random", RandomFeatures(channels).features)]
    if (channels, side) == (1, 16):
        found.insert(0, ("own", DigitsClassifier.load().features))
    elif channels == 3 and (CLIP / "config.json").exists():
        found.insert(0, ("own", ImageTower(CLIP).embed))
    return found


def interval(values: Tensor, groups: Tensor, level: float = 0.95) -> dict[str, float]:
    """Mean and bootstrap interval over groups."""
    mean, low, high = bootstrap_interval(values, groups, level=level)
    return {"mean": mean, "low": low, "high": high}


def differences(here: dict[str, Any], there: dict[str, Any], level: float = 0.95) -> dict[str, Any]:
    """Mean and interval of one evaluation minus another, over the records that both have; without what is NaN.

    Args:
        here: ``single`` of an evaluation: figures by name, with the records' names and groups.
        there: the same of the other.
        level: of the interval.
    """
    found: dict[str, Any] = {"records": len(set(here["record"]) & set(there["record"]))}
    for figure in PAIRED:
        if figure in here and figure in there:
            (mine, theirs), groups = aligned([here, there], figure)
            values = mine - theirs
            known = ~values.isnan()
            if known.any():
                found[figure] = interval(values[known], groups[known], level)
    return found


def aligned(evaluations: list[dict[str, Any]], figure: str) -> tuple[list[Tensor], Tensor]:
    """A figure of each evaluation's records that all of them have, ``(N,)`` each, and the records' groups.

    Args:
        evaluations: what ``evaluate.json`` holds under ``single``.
        figure: one of its figures.
    """
    places = [{name: place for place, name in enumerate(one["record"])} for one in evaluations]
    common = [name for name in evaluations[0]["record"] if all(name in place for place in places)]
    values = [
        torch.tensor([one[figure][place[name]] for name in common], dtype=torch.float64)
        for one, place in zip(evaluations, places, strict=True)
    ]
    return values, torch.tensor([evaluations[0]["group"][places[0][name]] for name in common])
