"""Measurements that are no pictures, from Python: tensors, arrays and the files that hold them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fcs.core.errors import UsageError

log = logging.getLogger("fcs")


def measurements(image: object, shape: tuple[int, ...]) -> list[Tensor]:
    """Measurements ``A(x)`` of pictures in [-1, 1] as float32 of this shape, one or several.

    Raises:
        ValueError: they are none, have another shape, or hold NaN or infinity.
    """
    value = measurement(image)
    if value is None:
        raise ValueError(f"image: expected measurements, floats (N, {', '.join(map(str, shape))})")
    value = value[None] if tuple(value.shape) == shape else value
    if tuple(value.shape[1:]) != shape or not value.float().isfinite().all():
        given, wanted = tuple(value.shape), f"finite numbers (N, {', '.join(map(str, shape))})"
        raise UsageError.of("image", f"a measurement of {given}", wanted)
    return list(value.float())


def measurement(image: object) -> Tensor | None:
    """A measurement as a tensor; None where ``image`` is pictures.

    Args:
        image: a float tensor or array, a list of such, or the path of a ``.npy`` or ``.pt`` file that holds one.

    Raises:
        ValueError: a file that is missing or holds no such tensor, entries of different shapes.
    """
    if isinstance(image, str | os.PathLike) and Path(image).suffix.lower() in (".npy", ".pt"):
        return _loaded(Path(image))
    if isinstance(image, list | tuple) and image and all(_floats(one) for one in image):
        if len({tuple(one.shape) for one in image}) > 1:
            raise ValueError("image: expected measurements of one shape")
        return torch.stack([torch.as_tensor(one) for one in image])
    return torch.as_tensor(image) if _floats(image) else None


def say_range(value: Tensor) -> None:
    """Warn of a measurement whose numbers may be a picture's: other calls take floats from 0 to 1 for pixels."""
    low, high = (value.min().item(), value.max().item()) if value.numel() else (0.0, 0.0)
    if low >= 0 and 0 < high <= 1:
        meant = "if these are pictures from 0 to 1, pass 2 * image - 1"
        log.warning(
            "image: floats from %.3g to %.3g are A of pictures in [-1, 1], where 0 is grey; %s", low, high, meant
        )


def _floats(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point()
    return isinstance(value, np.ndarray) and bool(np.issubdtype(value.dtype, np.floating))


def _loaded(path: Path) -> Tensor:
    expected = f"image={path}: expected a file with one float tensor"
    try:
        with open(path.expanduser(), "rb") as file:
            numpy = path.suffix.lower() == ".npy"
            value = np.load(file, allow_pickle=False) if numpy else torch.load(file, "cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{expected}; {error.strerror}") from error
    except Exception as error:  # torch and numpy raise whatever their parsers stumble over
        raise ValueError(f"{expected}; it cannot be read") from error
    if not _floats(value):
        raise ValueError(f"{expected}, not {type(value).__name__}")
    return torch.as_tensor(value)
