"""Inpainting: keep what is given, generate where the mask is white."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fcs.core.constraints import Known
from fcs.core.errors import UsageError
from fcs.core.images import fill_holes, paste, to_float, to_uint8, without_seam
from fcs.core.mirror_fill import mirror_holes
from fcs.core.records import Batch
from fcs.models.base import Model
from fcs.tasks.base import OnCrops, Task

Hole = Literal["grey", "fill", "mirror"]
VISIBLE: dict[Hole, Callable[[Tensor, Tensor], Tensor]] = {
    "grey": operator.mul,
    "fill": fill_holes,
    "mirror": mirror_holes,
}
MOST_MARGIN = 0.45  # at a half there would be no hole


class Inpaint(Task):
    """Generate the white part of each record's mask.

    Args:
        paste: put the given pixels back exactly; false gives the model's raw picture.
        seam: what becomes of the edge between pasted and made pixels: ``blend`` moves the made part so that it
            continues the given one, ``hard`` leaves it.
        hole: what the encoder of a latent model sees where nothing is given: ``grey`` as published, ``fill``, a smooth
            continuation of what is given, or ``mirror``, its reflection at the hole's edge. Encoders normalise over
            the whole picture, so what is in the hole changes the latents of the known part, near and far.
        erode: cells of a latent model beside the hole that count as unknown too, since the encoder saw the hole in
            them; 0 or more.
        margin: share of a crop's sides that is kept on each side of the hole, 0 to .45, as far as the picture reaches
            and the model's size leaves no more; for ``data.resize=crop_to_mask``.

    Raises:
        UsageError: a negative ``erode``, a margin outside its range.
    """

    needs_mask = True
    makes = Known

    def __init__(
        self,
        paste: bool = True,
        seam: Literal["blend", "hard"] = "blend",
        hole: Hole = "mirror",
        erode: int = 0,
        margin: float = 0.25,
    ) -> None:
        if erode < 0:
            raise UsageError.of("task.erode", erode, "0 or more")
        if not 0 <= margin <= MOST_MARGIN:
            raise UsageError.of("task.margin", margin, f"0 to {MOST_MARGIN}")
        self.paste = paste
        self.seam = seam
        self.hole = hole
        self.erode = erode
        self.margin = margin
        self._raw = False

    @property
    def on_crops(self) -> OnCrops | None:
        """Crops are made without paste-back, which is done at the picture's own size; None where it is not wanted."""
        if not self.paste:
            return None
        raw = copy.copy(self)
        raw._raw = True
        return OnCrops(raw, self.margin, self.blend)

    def handed_on(self, batch: Batch) -> frozenset[int]:
        """Where the mask is black and the given pixels are put back."""
        white = batch.on_host.masks.flatten(1).any(1).tolist()
        return frozenset(slot for slot, some in enumerate(white) if self.paste and not some)

    def constraint(self, batch: Batch, model: Model) -> Known:
        """The known cells' latents: a cell is known only as far as all of its pixels are."""
        images = to_float(batch.images)
        generate = batch.masks.float() / 255
        given = (generate < 1).float()
        visible = VISIBLE[self.hole](images, given)
        unknown = F.max_pool2d(generate, model.factor) if model.factor > 1 else generate
        if self.erode:
            unknown = F.max_pool2d(unknown, 2 * self.erode + 1, stride=1, padding=self.erode)
        with torch.no_grad():
            return Known(model.encode(visible), 1 - unknown)

    def pictures(self, x0: Tensor, batch: Batch, model: Model) -> Tensor:
        """The decoded pictures, the given pixels pasted back unless told otherwise."""
        made = model.decode(x0)
        if self._raw or not self.paste:
            return to_uint8(made)
        return self._pasted(made, batch.images, batch.masks)

    def blend(self, made: Tensor, given: Tensor, mask: Tensor) -> Tensor:
        """Paste-back, with ``seam``, at the picture's own size."""
        return self._pasted(to_float(made), given, mask)

    def _pasted(self, made: Tensor, given: Tensor, masks: Tensor) -> Tensor:
        if self.seam == "blend":
            made = without_seam(made, to_float(given), (masks == 0).float())
        return paste(to_uint8(made), given, masks)
