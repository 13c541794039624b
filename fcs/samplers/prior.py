"""What a sampler may ask of a model besides x_0: its codec and its prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from fcs.core.denoiser import Guided
from fcs.core.errors import UsageError
from fcs.core.levels import Level
from fcs.samplers.base import Denoise


def _nothing() -> None:
    """Watch over nothing."""


def _unseen(x0: Tensor, level: Level) -> None:
    """Look at nothing."""


@dataclass
class Prior:
    """A model as one batch sees it; it is the batch's denoiser, and shows what most samplers need not know.

    Attributes:
        guided: x_0 under the batch's prompts; counts its calls.
        encode: pictures in [-1, 1] to the model's space.
        decode: the model's space to pictures.
        watch: called before each denoiser call; may raise to cut the batch short.
        seen: shown what each call gave, and at which level.
    """

    guided: Guided
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    watch: Callable[[], None] = _nothing
    seen: Callable[[Tensor, Level], None] = _unseen

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """x_0 ``(N, *)`` for ``x`` ``(N, *)`` at ``level``."""
        self.watch()
        x0 = self.guided(x, level)
        self.seen(x0, level)
        return x0

    def reencode(self, x0: Tensor) -> Tensor:
        """x_0 ``(N, *)`` on its way to a picture and back: nearer to what the codec can say."""
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
