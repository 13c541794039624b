"""Style guidance: a picture of the prompt whose texture statistics are those of a given picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcs.core.constraints import Constraint, Sum
from fcs.core.errors import UsageError
from fcs.core.images import to_float
from fcs.core.pictures import FORMATS, PictureError, open_picture, read_picture
from fcs.core.records import Batch
from fcs.models.base import Model
from fcs.models.clip import ImageTower, gram
from fcs.models.loading import EMBEDDED
from fcs.tasks.base import Task


class SameGram(Constraint):
    """The Gram matrix of a picture's features is that of the style (Graikos et al. 2025, style guidance).

    ``loss = |G_ref - G(D(x_0))|_F``; its error is made by autograd through the features and the decoder only.

    Args:
        target: ``G_ref`` ``(N, D, D)``.
        features: pictures in [-1, 1] to patch tokens ``(N, P, D)``.
        decode: D, the model's space to pixels.
        weights: ``(N, P)``, how much each patch counts; all alike if left out.
    """

    def __init__(
        self,
        target: Tensor,
        features: Callable[[Tensor], Tensor],
        decode: Callable[[Tensor], Tensor],
        weights: Tensor | None = None,
    ) -> None:
        self.target = target
        self.features = features
        self.decode = decode
        self.weights = weights

    def loss(self, x0: Tensor) -> Tensor:
        made = gram(self.features(self.decode(x0)), self.weights)
        return torch.linalg.vector_norm((self.target - made).flatten(1), dim=1)

    def residual(self, x0: Tensor) -> Tensor:
        """Rms difference of the Gram matrices' entries, ``(N,)``."""
        return self.loss(x0) / self.target[0].numel() ** 0.5


class Style(Task):
    """Generate the prompt in the style of the record's image, or of pictures that the config names.

    Where a record has a mask, its white part alone takes the style. ``guidance`` of 2 to 5 keeps the prompt's
    content.

    Args:
        clip: whose features: an embedded model's (``emoji-64``), or a folder with a CLIP.
        block: after which block they are taken (the authors' code takes the third block's output).
        pictures: style pictures for all records; the record's own image if empty.
        weights: of the pictures, one each; all alike if empty.

    Raises:
        UsageError: a block below 1, another number of weights than of pictures, weights that are no numbers above 0.
    """

    in_place = False

    def __init__(
        self,
        clip: str = "emoji-64",
        block: int = 3,
        pictures: list[str] | None = None,
        weights: list[float] | None = None,
    ) -> None:
        if block < 1:
            raise UsageError.of("task.block", block, "1 or more")
        self.clip = clip
        self.block = block
        self.files = pictures or []
        self.weights = weights or [1.0] * max(len(self.files), 1)
        if len(self.weights) != max(len(self.files), 1):
            raise UsageError.of("task.weights", weights, f"a weight for each of {max(len(self.files), 1)} pictures")
        if not all(0 < weight < math.inf for weight in self.weights):
            raise UsageError.of("task.weights", weights, "numbers above 0")
        self._tower: ImageTower | None = None
        self._pictures: list[Tensor] | None = None

    @property
    def named_files(self) -> Mapping[str, Sequence[str]]:
        """The style pictures."""
        return {"pictures": self.files} if self.files else {}

    def check_fit(self, picture_shape: tuple[int, int, int] | None, prompted: bool) -> None:
        """Check that the model makes colour pictures."""
        if picture_shape is not None and picture_shape[0] != 3:
            raise UsageError.of("task", "style", "a model of colour pictures")

    def prepare(self, model: Model) -> None:
        """Load the CLIP and the style pictures' headers."""
        self.tower(model.device)
        self._styles_of(model)

    def tower(self, device: torch.device) -> ImageTower:
        """The CLIP, loaded once.

        Raises:
            UsageError: a folder without one, a block that it does not have.
        """
        if self._tower is None:
            embedded = EMBEDDED / self.clip / "clip"
            self._tower = ImageTower(embedded if embedded.is_dir() else Path(self.clip))
            if self.block > self._tower.blocks:
                raise UsageError.of("task.block", self.block, f"1 to {self._tower.blocks}, the blocks of {self.clip}")
        return self._tower.to(device)

    def constraint(self, batch: Batch, model: Model) -> Constraint:
        """``|G_ref - G(D(x_0))|_F``, a weighted sum of them for several styles."""
        tower = self.tower(batch.images.device)

        def features(images: Tensor) -> Tensor:
            return tower.tokens(images, self.block)

        share = self._share(batch, tower)
        terms: list[Constraint] = []
        for style in self._styles_of(model) or [to_float(batch.images)]:
            tokens = features(style.to(batch.images.device).expand(len(batch.images), -1, -1, -1))
            # The whole style picture's statistics, scaled to the number of patches that take them.
            scale = 1.0 if share is None else share.mean(1).view(-1, 1, 1)
            terms.append(SameGram(scale * gram(tokens), features, model.decode, share))
        return terms[0] if len(terms) == 1 else Sum(terms, self.weights)

    def _styles_of(self, model: Model) -> list[Tensor]:
        """The style pictures that the config names, ``(1, 3, H, W)`` each; read once."""
        _, height, width = model.picture_shape
        if self._pictures is None:
            self._pictures = [_read(path, width, height) for path in self.files]
        return self._pictures

    def _share(self, batch: Batch, tower: ImageTower) -> Tensor | None:
        """How much of each patch a mask lets take the style, ``(N, P)``; None where no record has a mask."""
        if not any(record is not None and record.mask is not None for record in batch.records):
            return None
        return tower.share(batch.masks.float() / 255)

    def styles(self, batch: Batch) -> list[Tensor]:
        """The config's pictures, or the records' own."""
        return self._pictures or [to_float(batch.images)]

    def reference(self, batch: Batch) -> Tensor | None:
        """There is no truth to score against."""
        return None


def _read(path: str, width: int, height: int) -> Tensor:
    """A picture file as ``(1, 3, H, W)`` in [-1, 1], read as a record's image is."""
    try:
        picture, _ = read_picture(open_picture(Path(path).read_bytes(), FORMATS), "RGB")
    except (OSError, PictureError) as error:
        raise UsageError.of("task.pictures", path, f"a picture file ({error})") from error
    array = np.array(picture.resize((width, height), Image.Resampling.BICUBIC))
    return to_float(torch.from_numpy(array).permute(2, 0, 1).unsqueeze(0))
