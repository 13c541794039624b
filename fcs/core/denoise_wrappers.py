"""Wrappers around a denoise callable ``(x_t, level) -> x_0``; they change nothing of what it returns."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fcs.core.denoiser import Denoise
from fcs.core.levels import Level

Wrapper = Callable[[Denoise], Denoise]


class CallCounter:
    """Counts the calls of everything it wraps.

    Attributes:
        calls: how many there were; the two branches of guidance are one call.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, denoise: Denoise) -> Denoise:
        """``denoise``, counted."""

        def counted(x: Tensor, level: Level) -> Tensor:
            self.calls += 1
            return denoise(x, level)

        return counted


def before_each_call(watch: Callable[[], None]) -> Wrapper:
    """A wrapper that calls ``watch`` before each denoiser call; ``watch`` may raise to cut a batch short."""

    def wrap(denoise: Denoise) -> Denoise:
        def watched(x: Tensor, level: Level) -> Tensor:
            watch()
            return denoise(x, level)

        return watched

    return wrap
