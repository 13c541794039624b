"""Restoration: the picture whose measurement by a linear operator is the given one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from fcs.core.constraints import Constraint, Measured, Projectable
from fcs.core.directions import Newton
from fcs.core.errors import UsageError
from fcs.core.images import to_float, to_uint8
from fcs.core.operators.base import Operator
from fcs.core.operators.pixels import Pixels
from fcs.core.per_sample import RecordNoise, column, rms
from fcs.core.records import Batch
from fcs.core.tf32 import no_tf32
from fcs.models.base import Model
from fcs.tasks.base import Task

Error = Literal["decoder_gradient", "vae_newton"]
NOISE_STREAM = 0x6E6F697365  # keeps a record's measurement noise apart from the noise it is sampled from
PASTES = 3  # bicubic A^+ is only nearly a right inverse: each pass leaves about a third of the error


class EncodedMeasured(Measured, Projectable):
    """A measurement whose error is taken back to the model's space by the encoder: without backpropagation.

    ``e_x = A^+ (y - A D(x_0))`` in pixels, then ``J_E e_x`` by a forward difference of the encoder at ``D(x_0)``,
    which stands in for ``J_D^-1 e_x``: the Newton direction of the sampler once more, applied to the autoencoder
    ("second Newton approximation" of the authors' ZoomLDM code). Encoding the decoded picture again cancels the
    autoencoder's own round-trip error.

    Args:
        target: y.
        operator: A and its pseudo-inverse.
        decode: D, the model's space to pixels.
        encode: E, pixels to the model's space, deterministic.
        difference: largest entry of the perturbation of the picture, in pixels of [-1, 1].
        noise: standard deviation of the noise in y.
    """

    def __init__(
        self,
        target: Tensor,
        operator: Operator,
        decode: Callable[[Tensor], Tensor],
        encode: Callable[[Tensor], Tensor],
        difference: float,
        noise: float = 0.0,
    ) -> None:
        super().__init__(target, operator.A, decode, noise)
        self.inverse = operator.A_dagger
        self.encode = encode
        self.direction = Newton(difference)

    def error(self, x0: Tensor) -> Tensor:
        picture = self.decode(x0)
        missing = self.target - self.operator(picture)
        beyond = column(rms(missing) > self.noise, missing)
        wanted = self.inverse(torch.where(beyond, missing, torch.zeros_like(missing)))
        with no_tf32():  # the difference is chosen for float32
            _, jacobian = self.direction.linearize(self.encode, picture)
            return jacobian(wanted)


class Perturbed(Constraint):
    """A constraint whose error is taken at a point near x_0, a new one each time.

    Without it superresolution converges to a blurred picture that meets the measurement exactly (Graikos et al.,
    ICLR 2025 submission, appendix).

    Args:
        constraint: what must be met.
        std: of the perturbation, in the model's space.
        randn: its noise, by sample.
    """

    def __init__(self, constraint: Constraint, std: float, randn: RecordNoise) -> None:
        self.constraint = constraint
        self.std = std
        self.randn = randn

    def loss(self, x0: Tensor) -> Tensor:
        return self.constraint.loss(x0)

    def error(self, x0: Tensor) -> Tensor:
        return self.constraint.error(x0 + self.std * self.randn(x0.shape[1:]))

    def residual(self, x0: Tensor) -> Tensor:
        return self.constraint.residual(x0)


class Restore(Task):
    """Find the picture that an operator has turned into the given one.

    Args:
        operator: A.
        degrade: the records hold the truth, which is measured first (and scored against); otherwise they hold the
            measurement.
        error: how the error of the measurement comes to a latent model's space: ``decoder_gradient``, by
            backpropagation through the decoder only, or ``vae_newton``, by two encodings and none.
        difference: perturbation of the picture for ``vae_newton``, in pixels of [-1, 1].
        noise: standard deviation of the measurement's noise, in pixels of [-1, 1]: it is added to a
            degraded one, and left unexplained in any.
        perturb: standard deviation of the perturbation of x_0 at which the error is taken; 0 for none.
        paste: put the measurement back in pixels, ``x + A^+ (y - A x)`` on the decoded picture, which an autoencoder
            alone does not meet exactly; where A^+ amplifies (a blur's), it amplifies the rounding of y too.

    Raises:
        UsageError: a negative noise or perturbation, a difference that is not positive, paste of a noisy measurement.
    """

    def __init__(
        self,
        operator: Operator,
        degrade: bool = False,
        error: Error = "decoder_gradient",
        difference: float = 0.05,
        noise: float = 0.0,
        perturb: float = 0.0,
        paste: bool = False,
    ) -> None:
        for name, value in (("noise", noise), ("perturb", perturb)):
            if not value >= 0:
                raise UsageError.of(f"task.{name}", value, "0 or above")
        if not difference > 0:
            raise UsageError.of("task.difference", difference, "a number above 0")
        if paste and noise:
            raise UsageError.of("task.paste", "true", "false where the measurement has noise (task.noise)")
        self.operator = operator
        self.degrade = degrade
        self.error = error
        self.difference = difference
        self.noise = noise
        self.perturb = perturb
        self.paste = paste

    @property
    def makes(self) -> type[Constraint]:
        """What ``error`` and ``perturb`` make of the measurement."""
        if self.perturb:
            return Constraint
        return EncodedMeasured if self.error == "vae_newton" else Measured

    @property
    def needs_float32(self) -> bool:
        """Whether the error is a finite difference of the encoder."""
        return self.error == "vae_newton"

    def input_shape(self, model: Model) -> tuple[int, int, int]:
        """The model's picture shape where the truth is given, else that of its measurement."""
        if self.degrade:
            return model.picture_shape
        nothing = torch.zeros(1, *model.picture_shape)
        channels, height, width = self._operator_on(nothing.device).A(nothing).shape[1:]
        return channels, height, width

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
        if self.error == "vae_newton":
            constraint = EncodedMeasured(target, operator, model.decode, model.encode, self.difference, self.noise)
        else:
            constraint = Measured(target, operator.A, model.decode, self.noise)
        return Perturbed(constraint, self.perturb, noise) if self.perturb else constraint

    def pictures(self, x0: Tensor, batch: Batch, model: Model) -> Tensor:
        """The decoded pictures, moved onto the measurement where ``paste`` asks for it."""
        picture = model.decode(x0)
        if self.paste:
            operator = self.operator_for(batch)
            target = self._target(batch, operator, self._noise(batch))
            for _ in range(PASTES):
                picture = picture + operator.A_dagger(target - operator.A(picture))
        return to_uint8(picture)

    def _noise(self, batch: Batch) -> RecordNoise:
        return RecordNoise([seed ^ NOISE_STREAM for seed in batch.seeds], batch.images.device)

    def _target(self, batch: Batch, operator: Operator, noise: RecordNoise) -> Tensor:
        """y: the given picture or the measured truth."""
        if not self.degrade:
            return to_float(batch.images)
        measured = operator.A(to_float(batch.images))
        if self.noise:
            return measured + self.noise * noise(measured.shape[1:])
        # Rounded to 8 bits, as a measurement from a file is.
        return to_float(to_uint8(measured))

    def given(self, batch: Batch) -> Tensor:
        """The measurement, without its noise."""
        if not self.degrade:
            return batch.images
        return to_uint8(self.operator_for(batch).A(to_float(batch.images)))

    def reference(self, batch: Batch) -> Tensor | None:
        """The truth where records hold it."""
        return batch.images if self.degrade else None


class KnownPixels(Restore):
    """Some pixels of each picture are given, scattered: the black ones of its mask.

    For a latent model no cell may be wholly known, so the constraint is on the decoded picture; with larger
    regions ``Inpaint`` is the better task. Arguments as those of ``Restore``.
    """

    needs_mask = True

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
