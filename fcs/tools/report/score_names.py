"""What scores are called, in which unit they are measured, and which way is better."""

from __future__ import annotations

from typing import Literal

Goal = Literal["higher", "lower", "near 0", "unknown"]
UNITS = {"psnr": "dB", "seam": "grey values", "seconds": "s", "memory": "bytes"}
WORDS = {"nfe": "denoiser calls", "seconds": "seconds a record"}
ABBREVIATIONS = {"psnr", "ssim", "lpips", "clip", "iou", "fid", "kid"}
_HIGHER = {"psnr", "ssim", "clip", "iou"}
_LOWER = {"residual", "lpips", "style", "nfe", "seconds", "memory"}
_NEAR_ZERO = {"seam"}


def title(name: str) -> str:
    """A score's name for people: ``psnr_generated`` is ``PSNR, generated``."""
    if name in WORDS:
        return WORDS[name]
    head, *rest = name.split("_")
    return ", ".join([head.upper() if head in ABBREVIATIONS else head, *([" ".join(rest)] if rest else [])])


def unit(name: str) -> str:
    """The unit of a score; empty where it has none."""
    return UNITS.get(name.partition("_")[0], "")


def axis_label(name: str) -> str:
    """The label of an axis with this score."""
    return " in ".join(filter(None, (title(name), unit(name))))


def goal(name: str) -> Goal:
    """Which values of a score are better."""
    head = name.partition("_")[0]
    if head in _HIGHER:
        return "higher"
    if head in _LOWER:
        return "lower"
    return "near 0" if head in _NEAR_ZERO else "unknown"


def penalty(name: str, value: float) -> float:
    """A number that is smaller for the better of two values; the value itself where better is unknown."""
    return {"higher": -value, "near 0": abs(value)}.get(goal(name), value)
