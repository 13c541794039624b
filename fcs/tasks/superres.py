"""Superresolution: the picture whose reduction is the given one."""

from __future__ import annotations

from fcs.core.errors import UsageError
from fcs.core.operators.downsample import Downsample, Filter
from fcs.tasks.restore import Error, Restore


class Superres(Restore):
    """Enlarge each record's image.

    Args:
        scale: factor on each side, 2 or more.
        degrade: the records hold the truth, which is reduced first (and scored against); otherwise they hold the
            measurement.
        filter: how the large picture becomes the small one: ``bicubic`` (antialiased, Pillow's), ``mirrored`` (the
            same with reflected borders, as published codes reduce) or ``average``.
        error: how the error comes to a latent model's space: ``decoder_gradient`` or ``vae_newton``.
        difference: perturbation of the picture for ``vae_newton``, in pixels of [-1, 1].
        noise: standard deviation of the measurement's noise, in pixels of [-1, 1]: it is added to a
            degraded one, and left unexplained in any.
        perturb: standard deviation of the perturbation of x_0 at which the error is taken; 0 for none.
        paste: put the measurement back in pixels, ``x + A^+ (y - A x)`` on the decoded picture.

    Raises:
        UsageError: a scale below 2, and what ``Restore`` raises.
    """

    def __init__(
        self,
        scale: int = 8,
        degrade: bool = False,
        filter: Filter = "bicubic",
        error: Error = "decoder_gradient",
        difference: float = 0.05,
        noise: float = 0.0,
        perturb: float = 0.0,
        paste: bool = False,
    ) -> None:
        if scale < 2:
            raise UsageError.of("task.scale", scale, "2 or more")
        super().__init__(Downsample(scale, filter), degrade, error, difference, noise, perturb, paste)
        self.scale = scale

    def check_fit(self, picture_shape: tuple[int, int, int] | None, prompted: bool) -> None:
        """Check that the scale divides the model's sides."""
        _, height, width = picture_shape or (0, 0, 0)
        if height % self.scale or width % self.scale:
            raise UsageError.of("task.scale", self.scale, f"a divisor of the model's {width}x{height} pixels")
