"""What is to be seen of a wish while it is made: the picture so far, and how far it is from what is asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from fcs.core.crops import cut
from fcs.core.errors import UsageError
from fcs.core.images import to_pil
from fcs.core.mask_edits import MaskEdits
from fcs.core.native_picture import NativePicture
from fcs.engine.python_results import Resize
from fcs.models.base import Model
from fcs.shards.input.decode_image import to_tensor
from fcs.tasks.base import Task
from fcs.tasks.inpaint import Inpaint
from fcs.tools.demo.distances import Distance, distance_of, kept_distance
from fcs.tools.demo.wishes import Wish

MOST_CROPS = 16  # that are made at once


class View(ABC):
    """What becomes of x_0 at a level."""

    resize: ClassVar[Resize] = "none"

    @abstractmethod
    def picture(self, made: Sequence[Image.Image]) -> Image.Image:
        """The picture so far, from what the model made."""

    @abstractmethod
    def residual(self, made: Sequence[Image.Image]) -> float:
        """Rms of what is missed; falling is good."""


@dataclass(frozen=True)
class Plain(View):
    """A picture of the model's size."""

    distance: Distance

    def picture(self, made: Sequence[Image.Image]) -> Image.Image:
        """What was made."""
        return made[0]

    def residual(self, made: Sequence[Image.Image]) -> float:
        """Of what was made."""
        return self.distance(made[0])


@dataclass(frozen=True)
class InCrops(View):
    """A picture of another size, which is completed crop by crop."""

    given: Image.Image
    native: NativePicture
    task: Inpaint

    resize: ClassVar[Resize] = "crop_to_mask"

    @classmethod
    def of(cls, wish: Wish, task: Inpaint, model: Model) -> InCrops:
        """A view of a wish, whose crops are those that the task gets.

        Raises:
            UsageError: more crops than are made at once.
        """
        given, (height, width) = wish.picture, model.picture_shape[1:]
        crops = cut(given, np.asarray(wish.hole), (height, width), task.margin, MaskEdits())
        if len(crops) > MOST_CROPS:
            expected = f"at most {MOST_CROPS} places far from each other; paint fewer"
            raise UsageError.of("hole", f"{len(crops)} places", expected)
        return cls(given, NativePicture(given.height, given.width, crops, given.copy), task)

    def picture(self, made: Sequence[Image.Image]) -> Image.Image:
        """The whole picture, completed by what was made."""
        return self.native.completed(self.native.read(), list(map(to_tensor, made)), self.task.blend).picture

    def residual(self, made: Sequence[Image.Image]) -> float:
        """Over the kept pixels of all crops."""
        kept = [(crop.mask[0] == 0).numpy() for crop in self.native.crops]
        crops = zip(made, self.native.crops, kept, strict=True)
        sums = [kept_distance(one, to_pil(crop.image), known) ** 2 * known.sum() for one, crop, known in crops]
        return math.sqrt(math.fsum(sums) / max(1, sum(int(known.sum()) for known in kept)))


def view_of(wish: Wish, task: Task, given: Image.Image, model: Model) -> View:
    """How a wish is looked at while it is made.

    Args:
        wish: what is asked for.
        task: that makes it.
        given: the picture that the task is given.
        model: the pretrained model.

    Raises:
        UsageError: too many crops.
    """
    if isinstance(task, Inpaint) and (given.height, given.width) != model.picture_shape[1:]:
        return InCrops.of(wish, task, model)
    return Plain(distance_of(wish, task, given, model))
