"""Restoration: the picture whose measurement by an operator is the given one."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from fcs.core.constraints import Constraint, Measured
from fcs.core.discovery import known_as
from fcs.core.errors import UsageError
from fcs.core.images import to_float, to_uint8
from fcs.core.operators.base import Operator
from fcs.core.operators.cells import Cells
from fcs.core.operators.linearity import check_linear
from fcs.core.operators.noise import noise_level, noise_model, with_noise
from fcs.core.operators.pixels import Pixels
from fcs.core.per_sample import RecordNoise
from fcs.core.records import Batch, Result
from fcs.models.base import Model
from fcs.tasks.base import Task
from fcs.tasks.in_cell import EncodedInCell, InCell
from fcs.tasks.measured import EncodedMeasured, Perturbed
from fcs.tasks.sampling_loop import SamplingLoop

Error = Literal["decoder_gradient", "vae_newton"]
NOISE_STREAM = 0x6E6F697365  # keeps a record's measurement noise apart from the noise it is sampled from
PASTES = 3  # bicubic A^+ is only nearly a right inverse: each pass leaves about a third of the error


class Restore(Task):
    """Find the picture that an operator has turned into the given one.

    Args:
        operator: A, linear, or one that leaves cells of pictures (``Cells``); of these, ``consistency`` is scored, the
            share of the cell's coordinates in which the written picture is inside. Where an operator has a noise model
            (``noise_model``, as deepinv's have), the noise is drawn from it, and the measurement is not rounded.
        degrade: the records hold the truth, which is measured first (and scored against); otherwise they hold the
            measurement.
        error: how the error of the measurement comes to a latent model's space: ``decoder_gradient``, by
            backpropagation through the decoder only, or ``vae_newton``, by two encodings and none.
        difference: perturbation of the picture for ``vae_newton``, in pixels of [-1, 1].
        noise: standard deviation of the measurement's noise, in pixels of [-1, 1]: it is added to a
            degraded one, and left unexplained in any.
        perturb: standard deviation of the perturbation of x_0 at which the error is taken; 0 for none.
        paste: put the measurement back in pixels, ``x + A^+ (y - A x)`` on the decoded picture, which an autoencoder
            alone does not meet exactly; where A^+ amplifies (a blur's), it amplifies the rounding of y too. Of cells,
            the picture is moved into them.
        measurement: what a record's measurement is: its ``picture``, or the floats in its ``KEY.npy`` (``npy``), A of
            a picture in [-1, 1].

    Raises:
        UsageError: a negative noise or perturbation, a difference that is not positive, paste of a noisy measurement,
            measurements beside ``degrade``.
    """

    reads_mask = False

    def __init__(
        self,
        operator: Operator,
        degrade: bool = False,
        error: Error = "decoder_gradient",
        difference: float = 0.05,
        noise: float = 0.0,
        perturb: float = 0.0,
        paste: bool = False,
        measurement: Literal["picture", "npy"] = "picture",
    ) -> None:
        for name, value in (("noise", noise), ("perturb", perturb)):
            if not value >= 0:
                raise UsageError.of(f"task.{name}", value, "0 or above")
        if not difference > 0:
            raise UsageError.of("task.difference", difference, "a number above 0")
        if paste and noise:
            raise UsageError.of("task.paste", "true", "false where the measurement has noise (task.noise)")
        if degrade and measurement == "npy":
            raise UsageError.of("task.measurement", "npy", "picture where measurements are made (task.degrade=true)")
        self.operator = operator
        self.degrade = degrade
        self.error = error
        self.difference = difference
        self.noise = noise
        self.perturb = perturb
        self.paste = paste
        self.measurement = measurement
        if isinstance(operator, Cells):
            if noise:
                raise UsageError.of("task.noise", noise, f"0 for {_called(operator)}, whose cells are its tolerance")
            self.scored = ("consistency",)

    def check_fit(self, picture_shape: tuple[int, int, int] | None, prompted: bool) -> None:
        """Check that pictures of the model's size fall into the operator's cells."""
        if picture_shape is not None and isinstance(self.operator, Cells):
            expected = self.operator.fits(picture_shape)
            if expected is not None:
                raise UsageError.of("task.operator", _called(self.operator), expected)

    def prepare(self, model: Model) -> None:
        """Try whether the operator is linear on pictures of the model's size, and whether its noise is said once.

        Raises:
            UsageError: it is not; noise beside the operator's own, or paste of a measurement with noise.
        """
        if isinstance(self.operator, Cells):
            return
        check_linear(self._operator_on(model.device), model.picture_shape, model.device)
        if noise_model(self.operator) is None:
            return
        if self.noise:
            raise UsageError.of("task.noise", self.noise, "0 where the operator has a noise_model of its own")
        if self.paste:
            raise UsageError.of("task.paste", "true", "false where the operator has a noise_model")

    @property
    def makes(self) -> type[Constraint]:
        """What ``error`` and ``perturb`` make of the measurement."""
        if self.perturb:
            return Constraint
        if isinstance(self.operator, Cells):
            return EncodedInCell if self.error == "vae_newton" else InCell
        return EncodedMeasured if self.error == "vae_newton" else Measured

    def input_shape(self, model: Model) -> tuple[int, int, int]:
        """The model's picture shape where the truth or floats are given, else that of its measurement.

        Raises:
            UsageError: the measurement is no picture.
        """
        if self.degrade or self.measurement == "npy" or isinstance(self.operator, Cells):
            return model.picture_shape
        shape = self._measured_shape(model)
        if len(shape) != 3 or shape[0] not in (1, 3):
            expected = f"task.degrade=true or task.measurement=npy: its measurement of {shape} is no picture"
            raise UsageError.of("task.operator", type(self.operator).__name__, expected)
        channels, height, width = shape
        return channels, height, width

    def measurement_shape(self, model: Model) -> tuple[int, ...] | None:
        return self._measured_shape(model) if self.measurement == "npy" else None

    def _measured_shape(self, model: Model) -> tuple[int, ...]:
        nothing = torch.zeros(1, *model.picture_shape)
        return tuple(self._operator_on(nothing.device).A(nothing).shape[1:])

    def operator_for(self, batch: Batch) -> Operator:
        """The operator of a batch; the same for all unless overridden."""
        return self._operator_on(batch.images.device)

    def _operator_on(self, device: torch.device) -> Operator:
        if isinstance(self.operator, nn.Module):  # one that holds tensors, as deepinv's do
            self.operator.to(device)
        return self.operator

    def constraint(self, batch: Batch, model: Model) -> Constraint:
        """``y = A D(x_0)``, with y the given picture or the measured truth."""
        operator = self.operator_for(batch)
        noise = self._noise(batch)
        target = self._target(batch, operator, noise)
        constraint: Constraint
        if isinstance(operator, Cells):
            cell = operator.cell(target)
            constraint = InCell(cell, model.decode)
            if self.error == "vae_newton":
                constraint = EncodedInCell(cell, model.decode, model.encode, self.difference)
            return Perturbed(constraint, self.perturb, noise) if self.perturb else constraint
        own = noise_model(operator)
        level = self.noise if own is None else noise_level(own, target, self._noise_seeds(batch))
        operator = self.operator_for(batch)  # noise is drawn on the CPU, and takes the model's own tensors there
        if self.error == "vae_newton":
            constraint = EncodedMeasured(target, operator, model.decode, model.encode, self.difference, level)
        else:
            constraint = Measured(target, operator.A, model.decode, level)
        return Perturbed(constraint, self.perturb, noise) if self.perturb else constraint

    def pictures(self, x0: Tensor, batch: Batch, model: Model) -> Tensor:
        """The decoded pictures, moved onto the measurement where ``paste`` asks for it."""
        picture = model.decode(x0)
        if self.paste:
            operator = self.operator_for(batch)
            target = self._target(batch, operator, self._noise(batch))
            if isinstance(operator, Cells):
                return to_uint8(operator.cell(target).within_range(picture))
            for _ in range(PASTES):
                picture = picture + operator.A_dagger(target - operator.A(picture))
        return to_uint8(picture)

    def sample(self, batch: Batch, loop: SamplingLoop) -> Result:
        """As any task; where measurements leave cells, records without one fail, and ``consistency`` is scored."""
        result = super().sample(batch, loop)
        operator = self.operator_for(batch)
        if not isinstance(operator, Cells):
            return result
        target = self._target(batch, operator, self._noise(batch))
        shares = operator.cell(target).share_inside(to_float(result.images.to(target.device))).tolist()
        scores = tuple({"consistency": share} for share in shares)
        return replace(result, scores=scores, errors=operator.refuses(target))

    def _noise(self, batch: Batch) -> RecordNoise:
        return RecordNoise(self._noise_seeds(batch), batch.images.device)

    def _noise_seeds(self, batch: Batch) -> list[int]:
        return [seed ^ NOISE_STREAM for seed in batch.seeds]

    def _target(self, batch: Batch, operator: Operator, noise: RecordNoise) -> Tensor:
        """y: the given measurement or picture, or the measured truth."""
        if self.measurement == "npy":
            return _measurements(batch)
        if not self.degrade:
            return to_float(batch.images)
        measured = operator.A(to_float(batch.images))
        own = noise_model(operator)
        if own is not None:
            return with_noise(own, measured, self._noise_seeds(batch))
        if self.noise:
            return measured + self.noise * noise(measured.shape[1:])
        # Rounded to 8 bits, as a measurement from a file is.
        return to_float(to_uint8(measured))

    def given(self, batch: Batch) -> Tensor:
        """The measurement, without its noise; where it is no picture, what A^+ makes of it."""
        if not self.degrade and self.measurement == "picture":
            return batch.images
        operator = self.operator_for(batch)
        measured = (
            operator.A(to_float(batch.images)) if self.degrade else self._target(batch, operator, self._noise(batch))
        )
        return to_uint8(measured if measured.ndim == 4 and measured.shape[1] in (1, 3) else operator.A_dagger(measured))

    def reference(self, batch: Batch) -> Tensor | None:
        """The truth where records hold it."""
        return batch.images if self.degrade else None


def _called(operator: Operator) -> str:
    return known_as(type(operator)).lower()


def _measurements(batch: Batch) -> Tensor:
    """The records' measurements ``(N, ...)``; zeros in slots that have none."""
    found = [None if record is None else record.measurement for record in batch.records]
    blank = torch.zeros_like(next(one for one in found if one is not None))
    return torch.stack([blank if one is None else one for one in found]).to(batch.images.device)


class KnownPixels(Restore):
    """Some pixels of each picture are given, scattered: the black ones of its mask.

    For a latent model no cell may be wholly known, so the constraint is on the decoded picture; with larger
    regions ``Inpaint`` is the better task.

    Args:
        error: how the error of the pixels comes to a latent model's space: ``decoder_gradient``, by backpropagation
            through the decoder only, or ``vae_newton``, by two encodings and none.
        difference: perturbation of the picture for ``vae_newton``, in pixels of [-1, 1].
        perturb: standard deviation of the perturbation of x_0 at which the error is taken; 0 for none.
        paste: put the given pixels back exactly.
    """

    needs_mask = reads_mask = True

    def __init__(
        self,
        error: Error = "decoder_gradient",
        difference: float = 0.05,
        perturb: float = 0.0,
        paste: bool = False,
    ) -> None:
        super().__init__(Pixels(torch.ones(1)), True, error, difference, 0.0, perturb, paste)

    def operator_for(self, batch: Batch) -> Operator:
        return Pixels(1 - batch.masks.float() / 255)
