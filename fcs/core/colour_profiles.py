"""Colour profiles: what the pixels of a picture mean, as sRGB."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

CACHED = 16  # transforms; most collections have a few profiles
SAME = 2  # grey values: a profile that moves no colour further is sRGB itself, and the pixels stay as they are
_MODES = ("L", "RGB", "CMYK", "LAB")
_NO_CACHE = 0x0040  # of lcms: transforms are shared by threads
_CUBE = 17  # colours a side on which a profile is tried


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The picture in sRGB by perceptual intent, its alpha as it is.

    Args:
        image: any of Pillow's.
        profile: the ICC profile of its colours; empty where there is none. The mode LAB says by itself what it means.

    Returns:
        An RGB or RGBA picture; None where it is sRGB already, or the profile is damaged or none for this mode.
    """
    if not profile and image.mode != "LAB":
        return None
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image if alpha is None else image.convert(image.mode[:-1])
    colours = colours.convert("RGB") if colours.mode == "P" else colours
    transform = _transform(profile, colours.mode)
    if transform is None:
        return None
    made = transform.apply(colours)
    if alpha is not None:
        made.putalpha(alpha)
    return made


@lru_cache(CACHED)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    if mode not in _MODES:
        return None
    try:
        source = _LAB if mode == "LAB" else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        intent = ImageCms.Intent.PERCEPTUAL
        made = ImageCms.buildTransform(source, _SRGB, mode, "RGB", intent, _NO_CACHE)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
    return None if _changes_nothing(made, mode) else made


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    if mode not in ("L", "RGB"):
        return False
    steps = np.linspace(0, 255, 256 if mode == "L" else _CUBE).round().astype(np.uint8)
    grid = steps[None] if mode == "L" else np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    made = np.asarray(transform.apply(Image.fromarray(grid))).astype(int)
    return bool(np.abs(made - (grid[..., None] if mode == "L" else grid)).max() <= SAME)


_SRGB, _LAB = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
