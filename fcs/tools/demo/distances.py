"""How far a picture is from what a wish asks for, for the page's curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fcs.core.images import to_float
from fcs.models.base import Model
from fcs.models.clip import gram
from fcs.tasks.base import Task
from fcs.tasks.restore import Restore
from fcs.tasks.style import Style
from fcs.tools.demo.wishes import Wish

Distance = Callable[[Image.Image], float]


def distance_of(wish: Wish, task: Task, given: Image.Image, model: Model) -> Distance:
    """Rms of what a picture misses: in the kept pixels, in the reduced picture, or in the style's Gram matrix.

    Args:
        wish: what is asked for.
        task: that makes it.
        given: the picture that the task is given.
        model: whose device features are computed on.
    """
    wanted = _floats(given)
    if isinstance(task, Restore):
        operator = task.operator
        return lambda picture: _rms(operator.A(_floats(picture)) - wanted)
    if isinstance(task, Style):
        style = task
        target = gram(style.tower(model.device).tokens(wanted.to(model.device), style.block))

        def in_style(picture: Image.Image) -> float:
            tokens = style.tower(model.device).tokens(_floats(picture).to(model.device), style.block)
            return _rms(gram(tokens) - target)

        return in_style
    kept = np.asarray(wish.hole) == 0
    return lambda picture: kept_distance(picture, given, kept)


def kept_distance(picture: Image.Image, given: Image.Image, kept: NDArray[np.bool_]) -> float:
    """Rms of the difference of two pictures where ``kept`` ``(H, W)`` says so, in [-1, 1]; 0 where that is nowhere."""
    return _rms((_floats(picture) - _floats(given))[..., torch.from_numpy(kept)])


def _floats(picture: Image.Image) -> Tensor:
    array = torch.from_numpy(np.array(picture))
    return to_float(array[None, None] if array.ndim == 2 else array.permute(2, 0, 1)[None])


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt()) if values.numel() else 0.0
