"""Layer inference: the two pictures and the mask that a picture was composed of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fcs.core.compositing import PixelMoments, blur, compose, composing
from fcs.core.constraints import Known
from fcs.core.denoiser import Denoise
from fcs.core.errors import UsageError
from fcs.core.images import to_float, to_uint8
from fcs.core.per_sample import rms
from fcs.core.records import Batch, Result
from fcs.core.texts import is_text
from fcs.core.transfer import to_host
from fcs.models.base import Model
from fcs.samplers.base import Sampler
from fcs.tasks.base import Task, finite
from fcs.tasks.inpaint import Hole, Inpaint
from fcs.tasks.sampling_loop import SamplingLoop

FIELD = "layers"  # of a record's JSON: its two prompts


class Layers(Task):
    """Find two pictures and a mask with ``x = m x_1 + (1 - m) x_2`` (Graikos et al., ICLR 2025 submission, sec. 4.2).

    Pixels of one layer tell more about each other than about the other layer's. So binary masks are drawn from m, each
    layer is inpainted from the pixels that it is given, and m becomes the probability that a pixel is the first
    layer's, judged by the samples that were not given it. Then both layers are inpainted with all levels from what m
    gives them. Written are ``KEY.layer1.png``, ``KEY.layer2.png``, ``KEY.mask.png`` (white = layer 1) and, as the
    result, their composition.

    The prompts are two texts, ``layers`` in the record's JSON. Where the submission says nothing: masks are drawn in
    cells, one of ``samples`` parts of the cells at a time is held out from both layers, so that each pixel is judged
    in each round, and the evidence is smoothed.

    Args:
        prompts: of both layers, for records without ``layers``; if left out, the record's prompt and an empty one.
        rounds: updates of the mask; 0 takes it as it begins.
        samples: one-shot pictures of each layer in a round, 2 or more.
        depth: share of the levels at which they are made, above 0 and up to 1.
        prior: probability that a pixel is the first layer's where both explain it alike; below .5 a background that
            either could have goes to the second.
        cell: side of the squares in which binary masks are drawn, in entries of x_t.
        floor: least standard deviation of a layer's pixels, in pixels of [-1, 1].
        smooth: standard deviation of the Gaussian that smooths the evidence, in entries of x_t; 0 for none.
        truth: a record's mask is the true one, white = layer 1, to score ``iou`` against; otherwise the mask begins
            with it.
        paste: move both layers by the least that makes them compose to the picture exactly.
        hole: what the encoder of a latent model sees where nothing is given, as in ``inpaint``; masks here are of
            scattered cells, which a smooth continuation fills best (docs/method.md).
        erode: cells of a latent model beside a hole that count as unknown too.

    Raises:
        UsageError: a number outside its range, another number of prompts than two.
    """

    makes = Known
    scored = ("iou",)
    previewed = False

    def __init__(
        self,
        prompts: list[str] | None = None,
        rounds: int = 8,
        samples: int = 5,
        depth: float = 0.6,
        prior: float = 0.3,
        cell: int = 2,
        floor: float = 0.2,
        smooth: float = 0.5,
        truth: bool = False,
        paste: bool = True,
        hole: Hole = "fill",
        erode: int = 0,
    ) -> None:
        if prompts is not None and len(prompts) != 2:
            raise UsageError.of("task.prompts", prompts, "two texts, one a layer")
        for name, value, least in (("rounds", rounds, 0), ("samples", samples, 2), ("cell", cell, 1)):
            if value < least:
                raise UsageError.of(f"task.{name}", value, f"{least} or more")
        if not 0 < depth <= 1:
            raise UsageError.of("task.depth", depth, "above 0 and up to 1")
        if not 0 < prior < 1:
            raise UsageError.of("task.prior", prior, "above 0 and below 1")
        if not floor > 0:
            raise UsageError.of("task.floor", floor, "a number above 0")
        if not smooth >= 0:
            raise UsageError.of("task.smooth", smooth, "0 or above")
        self.prompts = prompts
        self.rounds, self.samples, self.depth, self.cell = rounds, samples, depth, cell
        self.prior, self.floor, self.smooth = prior, floor, smooth
        self.truth = truth
        self.paste = paste
        self.inpaint = Inpaint(paste=False, hole=hole, erode=erode)

    def check_fit(self, picture_shape: tuple[int, int, int] | None, prompted: bool) -> None:
        """Check that the model takes prompts where there are some."""
        if self.prompts is not None and not prompted:
            raise UsageError.of("task.prompts", self.prompts, "none for a model without prompts")

    def calls(self, sampler: Sampler, steps: int) -> int:
        return 2 * (self.rounds * self.samples * sampler.calls(1) + sampler.calls(steps))

    def constraint(self, batch: Batch, model: Model) -> Known:
        """What a layer must keep: the black pixels of the batch's masks."""
        return self.inpaint.constraint(batch, model)

    def sample(self, batch: Batch, loop: SamplingLoop) -> Result:
        """The mask by rounds of guesses, then both layers."""
        picture = to_float(batch.images)
        prompts, errors = self._prompts(batch)
        denoise = [loop.denoiser([pair[layer] for pair in prompts]) for layer in (0, 1)]
        mask = self._begin(batch)
        for _ in range(self.rounds):
            mask = self._update(mask, picture, batch, loop, denoise)
        mask = (mask * 255).round() / 255  # as it will be written
        hidden = mask <= 0.5, mask >= 0.5
        x0 = [loop.sample(denoise[layer], self._known(batch, hidden[layer], loop.model)) for layer in (0, 1)]
        one, two = (loop.model.decode(z) for z in x0)
        whole, residuals = finite(torch.cat([one, two, mask], 1)), rms(picture - compose(mask, one, two))
        if self.paste:
            one, two = composing(picture, mask, one, two)
        further = {"layer1": to_uint8(one), "layer2": to_uint8(two), "mask": (mask * 255).round().byte()}
        made = to_uint8(compose(mask, to_float(further["layer1"]), to_float(further["layer2"])))
        made, residuals, whole, *pictures = to_host(made, residuals, whole, *further.values())
        return Result(
            made,
            tuple(residuals.tolist()),
            (loop.calls,) * len(batch.records),
            tuple(whole.tolist()),
            further=dict(zip(further, pictures, strict=True)),
            scores=tuple({"iou": value} for value in self._iou(mask, batch)),
            errors=errors,
        )

    def _prompts(self, batch: Batch) -> tuple[list[tuple[str, str]], dict[int, str]]:
        """Both layers' prompts per slot, and errors by slot where a record's own are not two texts."""
        prompts, errors = [], {}
        for slot, (record, text) in enumerate(zip(batch.records, batch.prompts, strict=True)):
            own = None if record is None else record.extra.get(FIELD)
            first, second = (text, "") if self.prompts is None else self.prompts
            if isinstance(own, list) and len(own) == 2 and all(map(is_text, own)):
                first, second = own
            elif own is not None:
                errors[slot] = f"bad_layers: {repr(own)[:100]}, expected a list of two texts"
            prompts.append((first, second))
        return prompts, errors

    def _begin(self, batch: Batch) -> Tensor:
        """The mask before the first round: the record's own, or one half."""
        mask = batch.masks.float() / 255
        own = [record is not None and record.mask is not None and not self.truth for record in batch.records]
        return torch.where(torch.tensor(own, device=mask.device).view(-1, 1, 1, 1), mask, 0.5)

    def _update(
        self, mask: Tensor, picture: Tensor, batch: Batch, loop: SamplingLoop, denoise: Sequence[Denoise]
    ) -> Tensor:
        """``m = p N(x; mu_1, v_1) / (p N(x; mu_1, v_1) + (1 - p) N(x; mu_2, v_2))``, ``(N, 1, H, W)``."""
        fold = (self._uniform(mask, loop) * self.samples).floor().clamp(max=self.samples - 1)
        layers = PixelMoments(), PixelMoments()
        for number in range(self.samples):
            first = self._uniform(mask, loop) < mask
            for layer, given in enumerate((first, ~first)):
                hidden = (~given | (fold == number)).float()
                known = self._known(batch, hidden > 0, loop.model)
                x0 = loop.guess(denoise[layer], known, known.target, self.depth)
                layers[layer].add(loop.model.decode(x0), hidden)
        odds = layers[0].log_likelihood(picture, self.floor) - layers[1].log_likelihood(picture, self.floor)
        before = math.log(self.prior / (1 - self.prior))
        return (before + blur(odds, self.smooth * loop.model.factor)).sigmoid()

    def _known(self, batch: Batch, hidden: Tensor, model: Model) -> Known:
        return self.constraint(replace(batch, masks=255 * hidden.byte()), model)

    def _uniform(self, mask: Tensor, loop: SamplingLoop) -> Tensor:
        """Uniform random numbers ``(N, 1, H, W)``, one per cell."""
        side = self.cell * loop.model.factor
        height, width = mask.shape[2:]
        normal = loop.randn((1, -(-height // side), -(-width // side)))
        cells = torch.special.ndtr(normal).repeat_interleave(side, 2).repeat_interleave(side, 3)
        return cells[..., :height, :width]

    def _iou(self, mask: Tensor, batch: Batch) -> list[float | None]:
        """How far the first layer's pixels are the true ones: intersection over union."""
        made, true = mask > 0.5, batch.masks > 127
        shared, either = ((part.flatten(1).sum(1)) for part in (made & true, made | true))
        known = [self.truth and record is not None and record.mask is not None for record in batch.records]
        values = zip(known, shared.tolist(), either.tolist(), strict=True)
        return [inner / outer if has and outer else None for has, inner, outer in values]
