"""Scores of large pictures of which a few parts were generated: those of ``image_scores``, without the rest.

Where the kept part came out as it was given, its error is 0 and its SSIM 1: only the surroundings of the holes are
looked at. After a lossy format all of the picture is, strip by strip.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcs.core.boxes import Box, whole
from fcs.core.native_picture import Completed, NativePicture
from fcs.metrics.image_scores import NAMES, finite
from fcs.metrics.seam import REACH, seam_sums
from fcs.metrics.ssim import WINDOW, local_ssim

AROUND = WINDOW // 2  # pixels around a changed one whose SSIM changes
STRIP = 256  # rows at a time
Sums = dict[str, float]


def native_scores(
    shown: Image.Image, completed: Completed, native: NativePicture, exact: bool, scored: bool
) -> dict[str, float | None]:
    """PSNR and SSIM of the whole picture, its generated and its kept part, and the seam.

    Args:
        shown: the completed picture as written.
        completed: the picture, and what it was before.
        native: where its holes are.
        exact: whether the kept part is written as it was given.
        scored: whether what it was before is the truth.

    Returns:
        As ``image_scores.scores``.
    """
    found = dict.fromkeys(NAMES, float("nan"))
    place = whole(native.width, native.height)
    holes = [hole.box.grown(REACH).shared(place) for hole in native.holes]
    jumps = [seam_sums(_tensor(shown.crop(box))[None], _mask(native, box)) for box in holes]
    excess, runs = (sum(float(one[kind]) for one in jumps) for kind in (0, 1))
    found["seam"] = excess / runs if runs else float("nan")
    if scored:
        boxes = [hole.box.grown(AROUND).shared(place) for hole in native.holes] if exact else _strips(place)
        found |= _against(shown, completed, native, boxes)
    return {name: finite(value) for name, value in found.items()}


def _against(shown: Image.Image, completed: Completed, native: NativePicture, boxes: Iterable[Box]) -> dict[str, float]:
    """The scores that need a reference, from disjoint boxes outside which both are equal."""
    place = whole(native.width, native.height)
    sums: Sums = defaultdict(float)
    small = min(place.width, place.height) < WINDOW
    for box in boxes:
        seen = box.grown(AROUND).shared(place)
        inner = box.seen_from(seen).slices
        pictures = [_tensor(part)[None] / 255 for part in (shown.crop(seen), completed.given(seen))]
        error = (pictures[0] - pictures[1]).square().mean(1)[0][inner].double()
        like = torch.ones_like(error) if small else local_ssim(*pictures).mean(1)[0][inner].double()
        generated = _mask(native, box)[0, 0] > 0
        for part, where in (("_generated", generated), ("_kept", ~generated)):
            sums[f"psnr{part}"] += float(error[where].sum())
            sums[f"ssim{part}"] += float((like[where] - 1).sum())
            sums[part] += float(where.sum())
    return _means(sums, place.width * place.height, small)


def _means(sums: Sums, pixels: int, small: bool) -> dict[str, float]:
    counts = {"": pixels, "_generated": sums["_generated"], "_kept": pixels - sums["_generated"]}
    found = {}
    for part, count in counts.items():
        parts = ("_generated", "_kept") if not part else (part,)
        if not count:
            continue
        error = sum(sums[f"psnr{one}"] for one in parts) / count
        found[f"psnr{part}"] = -10 * np.log10(error) if error else float("inf")
        if not small:
            found[f"ssim{part}"] = 1 + sum(sums[f"ssim{one}"] for one in parts) / count
    return found


def _strips(place: Box) -> list[Box]:
    return [Box(0, top, place.right, min(top + STRIP, place.bottom)) for top in range(0, place.bottom, STRIP)]


def _tensor(picture: Image.Image) -> Tensor:
    """float32 ``(C, H, W)``."""
    return torch.from_numpy(np.array(picture)).reshape(picture.height, picture.width, -1).permute(2, 0, 1).float()


def _mask(native: NativePicture, box: Box) -> Tensor:
    return torch.from_numpy(native.mask_in(box))[None, None]
