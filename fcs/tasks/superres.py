"""Superresolution: the picture whose reduction is the given one."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from fcs.constraint import Measured
from fcs.errors import UsageError
from fcs.models.base import Model
from fcs.pictures import to_float, to_uint8
from fcs.records import Batch
from fcs.tasks.base import Task

Operator = Literal["bicubic", "average"]


class Superres(Task):
    """Enlarge each record's image.

    Args:
        scale: factor on each side, 2 or more.
        degrade: the records hold the truth, which is reduced first (and scored against); otherwise they hold the
            measurement.
        operator: how the large picture becomes the small one: ``bicubic`` (antialiased, Pillow's) or ``average``.

    Raises:
        UsageError: a scale below 2.
    """

    def __init__(self, scale: int = 8, degrade: bool = False, operator: Operator = "bicubic") -> None:
        if scale < 2:
            raise UsageError.of("task.scale", scale, "2 or more")
        self.scale = scale
        self.degrade = degrade
        self.operator = operator

    def input_shape(self, model: Model) -> tuple[int, int, int]:
        """The model's picture shape where the truth is given, else that divided by the scale."""
        channels, height, width = model.picture_shape
        if height % self.scale or width % self.scale:
            raise UsageError.of("task.scale", self.scale, f"a divisor of the model's {width}x{height} pixels")
        return model.picture_shape if self.degrade else (channels, height // self.scale, width // self.scale)

    def measure(self, pictures: Tensor) -> Tensor:
        """A: ``(N, C, H, W)`` in [-1, 1] to ``(N, C, H / scale, W / scale)``."""
        if self.operator == "average":
            return F.avg_pool2d(pictures, self.scale)
        size = (pictures.shape[-2] // self.scale, pictures.shape[-1] // self.scale)
        return F.interpolate(pictures, size=size, mode="bicubic", antialias=True, align_corners=False)

    def constraint(self, batch: Batch, model: Model) -> Measured:
        """``y = A D(x_0)``, with y the given picture or the reduction of the truth."""
        images = to_float(batch.images)
        if self.degrade:
            # Through 8 bits and back: a measurement that comes from a file has gone the same way.
            images = to_float(to_uint8(self.measure(images)))
        return Measured(images, self.measure, model.decode)

    def reference(self, batch: Batch) -> Tensor | None:
        """The truth where records hold it."""
        return batch.images if self.degrade else None
