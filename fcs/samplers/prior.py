"""A model as one batch sees it: x_0 under the batch's prompts, and the codec that a few samplers need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from fcs.core.denoise_wrappers import Wrapper
from fcs.core.denoiser import Denoise, Guided
from fcs.core.errors import UsageError
from fcs.core.levels import Level


@dataclass(frozen=True, eq=False)
class Prior:
    """The denoiser of a batch. It also shows the codec and the prompts, which most samplers need not know.

    Attributes:
        guided: x_0 under the batch's prompts.
        encode: pictures ``(N, C, H, W)`` in [-1, 1] to the model's space ``(N, *)``.
        decode: the model's space ``(N, *)`` to pictures ``(N, C, H, W)``.
        wrappers: applied to ``guided`` at each call, innermost first: counting, watching, recording.
    """

    guided: Guided
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    wrappers: tuple[Wrapper, ...] = ()

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """x_0 ``(N, *)`` for ``x`` ``(N, *)`` at ``level``."""
        denoise: Denoise = self.guided
        for wrap in self.wrappers:
            denoise = wrap(denoise)
        return denoise(x, level)

    def wrapped(self, wrapper: Wrapper) -> Prior:
        """The same prior with one more wrapper around its calls."""
        return replace(self, wrappers=(*self.wrappers, wrapper))

    def with_cond(self, cond: Tensor) -> Prior:
        """The same prior under another conditioning ``(N, ...)``; calls pass through the same wrappers."""
        return replace(self, guided=replace(self.guided, cond=cond))

    def reencode(self, x0: Tensor) -> Tensor:
        """x_0 ``(N, *)`` decoded and encoded again: moved towards what the codec can represent."""
        return self.encode(self.decode(x0))


def prior_of(denoise: Denoise, sampler: str) -> Prior:
    """The denoiser as a ``Prior``.

    Args:
        denoise: what the sampler was given.
        sampler: its name, for the message.

    Raises:
        UsageError: it is a plain function, which shows neither codec nor prompts.
    """
    if not isinstance(denoise, Prior):
        raise UsageError.of("sampler", sampler, "a Prior for its denoiser: it needs the model's codec or prompts")
    return denoise
