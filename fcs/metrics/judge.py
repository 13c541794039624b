"""Scores and features that take a network of their own, in float32, behind the one that samples."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fcs.core.errors import UsageError
from fcs.core.images import to_float
from fcs.core.memory import is_out_of_memory
from fcs.core.tf32 import no_tf32
from fcs.metrics.extractors import colour, extractor
from fcs.metrics.image_scores import finite
from fcs.metrics.lpips import LEAST, Lpips
from fcs.models.clip import ImageTower, TextTower, gram

STYLE_BLOCK = 3  # after which the style is compared, as published
REFERENCE = "_reference"  # what the features of a record's reference picture are called besides
Scores = dict[str, float | None]
Features = dict[str, NDArray[np.float32]]
log = logging.getLogger("fcs")


@dataclass(frozen=True)
class JudgedPictures:
    """What the networks look at, slot by slot.

    Attributes:
        pictures: uint8 ``(N, C, H, W)`` as written.
        reference: the same shape, or None where there is no truth.
        prompts: one a slot; empty where there is none.
        styles: as ``Task.styles``.
        masks: uint8 ``(N, 1, H, W)``, 255 = takes the style, grey a little.
    """

    pictures: Tensor
    reference: Tensor | None
    prompts: Sequence[str]
    styles: Sequence[Tensor]
    masks: Tensor

    def to(self, device: torch.device) -> JudgedPictures:
        """The same on a device."""
        reference = None if self.reference is None else self.reference.to(device)
        styles = [style.to(device) for style in self.styles]
        return JudgedPictures(self.pictures.to(device), reference, self.prompts, styles, self.masks.to(device))


class Judge:
    """The networks of a run's scores and features; may be asked by several threads.

    Args:
        scores: of ``lpips``, ``clip``, ``style``.
        features: of ``clip``, ``dinov2``, ``inception``, ``digits``, ``random``.
        found: where the weights are, by name.
        shape: ``(C, H, W)`` of the pictures.

    Raises:
        UsageError: weights that do not load, or do not fit the pictures.
    """

    def __init__(
        self, scores: Sequence[str], features: Sequence[str], found: dict[str, Path], shape: tuple[int, int, int]
    ) -> None:
        self.scores = tuple(dict.fromkeys(scores))
        self.features = tuple(dict.fromkeys(features))
        self.device = torch.device("cpu")
        self._networks = nn.ModuleDict()
        self._extractors = nn.ModuleDict({name: extractor(name, found, shape) for name in self.features})
        self._lock = threading.Lock()
        if "lpips" in self.scores:
            self._networks["lpips"] = Lpips.load(found["lpips"])
        if {"clip", "style"} & set(self.scores):
            self._networks["image"] = tower = ImageTower(found["clip"])
            if "style" in self.scores and tower.blocks < STYLE_BLOCK:
                raise UsageError.of("metrics.clip", found["clip"], f"a CLIP of {STYLE_BLOCK} blocks or more for style")
        if "clip" in self.scores:
            self._networks["text"] = TextTower(found["clip"])

    def to(self, device: torch.device) -> Judge:
        """Move the networks there; returns itself."""
        self.device = device
        self._networks.to(device)
        self._extractors.to(device)
        return self

    def names(self, reference: bool) -> tuple[str, ...]:
        """Of the features that records get, where they have a reference and where they have none."""
        return self.features + tuple(name + REFERENCE for name in self.features if reference)

    def __call__(self, seen: JudgedPictures) -> tuple[list[Scores], list[Features]]:
        """A dictionary of each kind a slot; a score that does not exist is None."""
        with self._lock, torch.no_grad(), no_tf32():
            try:
                return self._judge(seen.to(self.device))
            except (MemoryError, RuntimeError) as error:
                if self.device.type == "cpu" or not is_out_of_memory(error):
                    raise
            log.warning("no memory for metrics beside the model on %s: they are made on the CPU", self.device)
            return self.to(torch.device("cpu"))._judge(seen.to(self.device))

    def _judge(self, seen: JudgedPictures) -> tuple[list[Scores], list[Features]]:
        makers = {"lpips": self._lpips, "clip": self._clip, "style": self._style}
        columns = {name: makers[name](seen).tolist() for name in self.scores}
        scores = [{name: finite(values[i]) for name, values in columns.items()} for i in range(len(seen.pictures))]
        vectors: dict[str, Any] = {}
        for name in self.features:
            network = self._extractors[name]
            vectors[name] = network(seen.pictures).float().cpu().numpy()
            if seen.reference is not None:
                vectors[name + REFERENCE] = network(seen.reference).float().cpu().numpy()
        return scores, [{name: rows[i] for name, rows in vectors.items()} for i in range(len(seen.pictures))]

    def _lpips(self, seen: JudgedPictures) -> Tensor:
        """Distance to the reference, ``(N,)``."""
        if seen.reference is None or min(seen.pictures.shape[-2:]) < LEAST:
            return nothing(seen)
        return self._networks["lpips"](colour(to_float(seen.pictures)), colour(to_float(seen.reference)))

    def _clip(self, seen: JudgedPictures) -> Tensor:
        """``100 max(cos, 0)`` between picture and prompt (Hessel et al. 2021, scaled as usual), ``(N,)``."""
        images = self._networks["image"].embed(colour(to_float(seen.pictures)))  # type: ignore[operator]
        texts = self._networks["text"].embed(list(seen.prompts))  # type: ignore[operator]
        told = torch.tensor([bool(prompt.strip()) for prompt in seen.prompts], device=images.device)
        return torch.where(told, 100 * (images * texts).sum(1).clamp(min=0), math.nan)

    def _style(self, seen: JudgedPictures) -> Tensor:
        """``|G_ref - G(x)|_F`` of patch tokens, the mean over the styles, ``(N,)``."""
        if not seen.styles:
            return nothing(seen)
        tower: Any = self._networks["image"]
        share = tower.share(seen.masks.float() / 255)
        made = gram(tower.tokens(colour(to_float(seen.pictures)), STYLE_BLOCK), share)
        scale = share.mean(1).view(-1, 1, 1)
        wanted = [scale * gram(tower.tokens(colour(style), STYLE_BLOCK)) for style in seen.styles]
        return torch.stack([torch.linalg.matrix_norm(target - made) for target in wanted]).mean(0)


def nothing(seen: JudgedPictures) -> Tensor:
    """A score that none of the pictures has."""
    return torch.full((len(seen.pictures),), math.nan)
