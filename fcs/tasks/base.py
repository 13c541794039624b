"""The interface of tasks: the constraint for a batch, and the pictures to write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fcs.core.constraints import Constraint
from fcs.core.images import to_float, to_uint8
from fcs.core.native_picture import Blend
from fcs.core.records import Batch, Result
from fcs.core.transfer import to_host
from fcs.models.base import Model
from fcs.samplers.base import Sampler
from fcs.tasks.residual_trace import ResidualTrace
from fcs.tasks.sampling_loop import SamplingLoop


@dataclass(frozen=True)
class OnCrops:
    """How a task completes pictures larger than the model's: crops around what is to be generated.

    Attributes:
        task: makes a crop.
        margin: share of a crop's sides that is kept on each side of the hole.
        blend: puts what was made of a crop into the picture that it was cut out of, at that picture's own size: what
            was made, the same part of the picture, both uint8 ``(N, C, H, W)``, and a mask, uint8 ``(N, 1, H, W)``,
            255 = made.
    """

    task: Task
    margin: float
    blend: Blend


class Task(ABC):
    """Turns a batch's records into a constraint on x_0, and x_0 into pictures.

    Attributes:
        needs_mask: whether a record without a mask fails (``missing_mask``).
        reads_mask: whether a record's mask is looked at; where it is not, a broken one does no harm.
        scored: names of the scores that its results carry themselves.
        in_place: whether a result shows what the record's picture shows, place by place.
        previewed: whether it tells of x_0 level by level; a task that samples more than once does not.
    """

    needs_mask: bool = False
    reads_mask: bool = True
    scored: tuple[str, ...] = ()
    in_place: bool = True
    previewed: bool = True

    @property
    def makes(self) -> type[Constraint]:
        """The kind of constraint it makes."""
        return Constraint

    @property
    def named_files(self) -> Mapping[str, Sequence[str]]:
        """Files that its results depend on, by the argument that names them; a run pins what they hold."""
        return {}

    def check_fit(self, picture_shape: tuple[int, int, int] | None, prompted: bool) -> None:  # noqa: B027 (as below)
        """Check what a model's outline says: of its files before it is loaded, and of the loaded model.

        Args:
            picture_shape: ``(C, H, W)`` of its pictures; None where the files do not say it.
            prompted: whether it takes text.

        Raises:
            UsageError: the task does not fit.
        """

    def prepare(self, model: Model) -> None:  # noqa: B027 (most tasks need nothing)
        """Load what the task itself needs and check that it fits the model; called once, before any record is read.

        Raises:
            UsageError: it does not.
        """

    def input_shape(self, model: Model) -> tuple[int, int, int]:
        """``(C, H, W)`` that each record's image must have."""
        return model.picture_shape

    def measurement_shape(self, model: Model) -> tuple[int, ...] | None:
        """Shape of the measurement that each record must hold instead of a picture; None where it holds a picture."""
        return None

    @abstractmethod
    def constraint(self, batch: Batch, model: Model) -> Constraint:
        """The constraint that the batch's x_0 must satisfy, in the model's space."""

    def sample(self, batch: Batch, loop: SamplingLoop) -> Result:
        """Sample a batch once, under its constraint. A task that samples more often overrides this."""
        denoise = loop.denoiser(batch.prompts, self.concat_cond(batch, loop.model))
        constraint = self.constraint(batch, loop.model)
        trace = ResidualTrace(constraint, loop.preview)
        traced = constraint.cheap or loop.preview is not None
        x0 = loop.sample(denoise.wrapped(trace) if traced else denoise, constraint)
        made = self.pictures(x0, batch, loop.model), constraint.residual(x0), finite(x0), trace.residuals()
        pictures, residuals, whole, course = to_host(*made)
        calls = (loop.calls,) * len(batch.records)
        traces = tuple(map(tuple, course.tolist())) if course.numel() else ()
        return Result(pictures, tuple(residuals.tolist()), calls, tuple(whole.tolist()), residual_traces=traces)

    def concat_cond(self, batch: Batch, model: Model) -> Tensor | None:
        """What the network of an inpainting model sees of the batch, where the masks say what is given."""
        return model.concat_cond(to_float(batch.images), batch.masks.float() / 255) if self.needs_mask else None

    def handed_on(self, batch: Batch) -> frozenset[int]:
        """Slots whose result is the given picture as it is, so that nothing is to be sampled."""
        return frozenset()

    @property
    def on_crops(self) -> OnCrops | None:
        """How it completes pictures larger than the model's, crop by crop; None where it cannot."""
        return None

    def calls(self, sampler: Sampler, steps: int) -> int:
        """Denoiser calls for one record, or for one crop of it."""
        return sampler.calls(steps)

    def pictures(self, x0: Tensor, batch: Batch, model: Model) -> Tensor:
        """uint8 ``(N, C, H, W)`` pictures to write."""
        return to_uint8(model.decode(x0))

    def given(self, batch: Batch) -> Tensor:
        """uint8 ``(N, c, h, w)`` pictures of what the task sees, for display; hidden pixels are mid grey."""
        if not self.needs_mask:
            return batch.images
        return torch.where(batch.masks > 0, 128, batch.images).byte()

    def reference(self, batch: Batch) -> Tensor | None:
        """uint8 ``(N, C, H, W)`` pictures to score against, or None where there is no truth."""
        return batch.images

    def styles(self, batch: Batch) -> list[Tensor]:
        """Pictures in [-1, 1], ``(N, C, H, W)`` or ``(1, C, H, W)`` each, whose style the results are to have."""
        return []


def finite(x: Tensor) -> Tensor:
    """Whether each sample of ``(N, *)`` is free of NaN and infinity, ``(N,)``."""
    return x.isfinite().flatten(1).all(1)
