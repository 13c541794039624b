"""What a task is: the constraint for a batch, and the pictures to write."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fcs.core.constraints import Constraint
from fcs.core.images import to_float, to_uint8
from fcs.core.records import Batch, Result
from fcs.models.base import Model
from fcs.samplers.base import Sampler
from fcs.tasks.sampling_loop import ResidualTrace, SamplingLoop


class Task(ABC):
    """Turns a batch's records into a constraint on x_0, and x_0 into pictures.

    Attributes:
        needs_mask: whether a record without a mask fails (``missing_mask``).
        makes: the kind of constraint it makes.
        scored: names of the scores that its results carry themselves.
    """

    needs_mask: bool = False
    makes: type[Constraint] = Constraint
    scored: tuple[str, ...] = ()

    def prepare(self, model: Model) -> None:  # noqa: B027 (most tasks need nothing)
        """Load what the task itself needs and check that it fits the model; called once, before any record is read.

        Raises:
            UsageError: it does not.
        """

    def input_shape(self, model: Model) -> tuple[int, int, int]:
        """``(C, H, W)`` that each record's image must have."""
        return model.picture_shape

    @abstractmethod
    def constraint(self, batch: Batch, model: Model) -> Constraint:
        """The constraint that the batch's x_0 must satisfy, in the model's space."""

    def solve(self, batch: Batch, walk: SamplingLoop) -> Result:
        """Sample a batch: once, under its constraint. A task that samples more often says so here."""
        denoise = walk.denoiser(batch.prompts, self.shown(batch, walk.model))
        constraint = self.constraint(batch, walk.model)
        course = ResidualTrace(constraint)
        if constraint.light:
            denoise.seen = course
        x0 = walk.sample(denoise, constraint)
        residuals = constraint.residual(x0).cpu()
        pictures = self.pictures(x0, batch, walk.model).cpu()
        calls = (walk.calls,) * len(batch.records)
        return Result(pictures, tuple(residuals.tolist()), calls, finite_rows(x0), courses=course.rows())

    def shown(self, batch: Batch, model: Model) -> Tensor | None:
        """What a network that was tuned for inpainting sees of the batch, where the masks say what is given."""
        return model.shown(to_float(batch.images), batch.masks.float() / 255) if self.needs_mask else None

    def calls(self, sampler: Sampler, steps: int) -> int:
        """Denoiser calls for one record."""
        return sampler.calls(steps)

    def pictures(self, x0: Tensor, batch: Batch, model: Model) -> Tensor:
        """uint8 ``(N, C, H, W)`` pictures to write."""
        return to_uint8(model.decode(x0))

    def given(self, batch: Batch) -> Tensor:
        """uint8 ``(N, c, h, w)`` pictures of what the task sees, for people: what a mask hides is mid grey."""
        if not self.needs_mask:
            return batch.images
        return torch.where(batch.masks > 0, 128, batch.images).byte()

    def reference(self, batch: Batch) -> Tensor | None:
        """uint8 ``(N, C, H, W)`` pictures to score against, or None where there is no truth."""
        return batch.images

    def styles(self, batch: Batch) -> list[Tensor]:
        """Pictures in [-1, 1], ``(N, C, H, W)`` or ``(1, C, H, W)`` each, whose style the results are to have."""
        return []


def finite_rows(x: Tensor) -> tuple[bool, ...]:
    """Whether each row of ``(N, *)`` is free of NaN and infinity."""
    return tuple(x.isfinite().flatten(1).all(1).tolist())
