"""Linear operators on pictures, in deepinv's vocabulary: ``A``, ``A_adjoint``, ``A_dagger``.

An object of deepinv's (a ``LinearPhysics``) has the same three methods, so it is an ``Operator`` as it is.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fcs.core.per_sample import column, dot

METHODS = ("A", "A_adjoint", "A_dagger")
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to grey


class Operator(ABC):
    """A linear operator given by ``A`` alone: the transpose is made by autograd, the pseudo-inverse by iteration.

    Whatever has all three methods is one too, whether it inherits from this class or not.

    Attributes:
        iterations: of the conjugate gradients that ``A_dagger`` takes.
    """

    iterations: int = 30

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        if cls is Operator and all(callable(getattr(other, name, None)) for name in METHODS):
            return True
        return NotImplemented

    @abstractmethod
    def A(self, x: Tensor) -> Tensor:
        """The measurement of pictures ``(N, C, H, W)`` in [-1, 1]; linear, each row by itself."""

    def picture_shape(self, shape: torch.Size) -> torch.Size:
        """Shape of the pictures whose measurement has ``shape``; the same unless overridden."""
        return shape

    def A_adjoint(self, y: Tensor) -> Tensor:
        """The transpose, by one backward pass through ``A``."""
        with torch.enable_grad():
            x = y.new_zeros(self.picture_shape(y.shape)).requires_grad_()
            (adjoint,) = torch.autograd.grad(self.A(x), x, y)
        return adjoint

    def A_dagger(self, y: Tensor) -> Tensor:
        """The least-squares picture of least norm, by conjugate gradients on ``A^T A x = A^T y`` (CGLS)."""
        r, x = y, torch.zeros_like(self.A_adjoint(y))
        s = p = self.A_adjoint(r)
        gamma = dot(s, s)
        for _ in range(self.iterations):
            q = self.A(p)
            step = column(gamma / dot(q, q).clamp(min=1e-30), x)
            x, r = x + step * p, r - step * q
            s = self.A_adjoint(r)
            before, gamma = gamma, dot(s, s)
            p = s + column(gamma / before.clamp(min=1e-30), p) * p
        return x


class Downsample(Operator):
    """Reduction of each side by a whole factor.

    Args:
        scale: the factor.
        filter: ``bicubic`` (antialiased, Pillow's) or ``average`` over blocks.
    """

    def __init__(self, scale: int, filter: Literal["bicubic", "average"] = "bicubic") -> None:
        self.scale = scale
        self.filter = filter

    def A(self, x: Tensor) -> Tensor:
        if self.filter == "average":
            return F.avg_pool2d(x, self.scale)
        size = (x.shape[-2] // self.scale, x.shape[-1] // self.scale)
        return F.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False)

    def picture_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:2], shape[2] * self.scale, shape[3] * self.scale))

    def A_dagger(self, y: Tensor) -> Tensor:
        """Enlarged by the same filter: for blocks the pseudo-inverse, for bicubic nearly a right inverse."""
        if self.filter == "average":
            return y.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
        size = tuple(self.picture_shape(y.shape)[2:])
        return F.interpolate(y, size=size, mode="bicubic", align_corners=False)


class Blur(Operator):
    """Convolution of each channel with a kernel; borders are reflected.

    Args:
        kernel: ``(h, w)``, odd sides, sum 1.
    """

    def __init__(self, kernel: Tensor) -> None:
        self.kernel = kernel

    def A(self, x: Tensor) -> Tensor:
        height, width = self.kernel.shape
        padded = F.pad(x, (width // 2, width // 2, height // 2, height // 2), mode="reflect")
        weight = self.kernel.to(x).expand(x.shape[1], 1, height, width)
        return F.conv2d(padded, weight, groups=x.shape[1])


class GaussianBlur(Blur):
    """Blur by a Gaussian.

    Args:
        sigma: standard deviation in pixels, above 0.

    Raises:
        ValueError: a sigma that is not positive.
    """

    def __init__(self, sigma: float = 2.0) -> None:
        if not sigma > 0:
            raise ValueError(f"sigma={sigma}: expected a number above 0")
        reach = math.ceil(3 * sigma)
        line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
        kernel = torch.outer(line, line)
        super().__init__(kernel / kernel.sum())


class MotionBlur(Blur):
    """Blur along a straight line.

    Args:
        length: of the line in pixels, 1 or more.
        angle: in degrees, counter-clockwise from the horizontal.

    Raises:
        ValueError: a length below 1.
    """

    def __init__(self, length: float = 9.0, angle: float = 0.0) -> None:
        if not length >= 1:
            raise ValueError(f"length={length}: expected 1 or more")
        reach = math.ceil(length / 2)
        rows, columns = torch.meshgrid(torch.arange(-reach, reach + 1), torch.arange(-reach, reach + 1), indexing="ij")
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        along, across = columns * cosine - rows * sine, columns * sine + rows * cosine
        # A line one pixel wide: full within half a pixel of it, fading over the next.
        kernel = (length / 2 + 0.5 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp(0, 1)
        super().__init__(kernel / kernel.sum())


class Grey(Operator):
    """The luminance of a colour picture, one channel; its inversion is colorization."""

    def A(self, x: Tensor) -> Tensor:
        weights = torch.tensor(LUMA, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
        return (x * weights).sum(1, keepdim=True)

    def picture_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((shape[0], 3, *shape[2:]))

    def A_dagger(self, y: Tensor) -> Tensor:
        """The colour picture of least norm with this luminance."""
        weights = torch.tensor(LUMA, dtype=y.dtype, device=y.device).view(1, 3, 1, 1)
        return y * weights / weights.square().sum()


class Pixels(Operator):
    """Some pixels and nothing else.

    Args:
        given: ``(N, 1, H, W)`` in [0, 1], 1 = given.
    """

    def __init__(self, given: Tensor) -> None:
        self.given = given

    def A(self, x: Tensor) -> Tensor:
        return self.given * x

    def A_dagger(self, y: Tensor) -> Tensor:
        """The given pixels, grey elsewhere."""
        return (self.given > 0) * y / self.given.clamp(min=1e-6)
