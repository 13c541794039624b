"""TF32: products of float32 on a GPU whose factors are rounded to ten mantissa bits.

torch's switches are of the whole process, so they must not be turned while another thread computes. A run sets them
once, before it starts threads (``allow_tf32``). Python calls switch TF32 off for as long as any of them computes
(``no_tf32``). Both torch's older switches (``allow_tf32``) and its newer ones (``fp32_precision``) are set, since torch
refuses to read an older one that disagrees with the newer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

T = TypeVar("T")
_mkldnn: Any = torch.backends.mkldnn
_cudnn: Any = torch.backends.cudnn
OPERATIONS: tuple[Any, ...] = (torch.backends.cuda.matmul, _cudnn.conv, _cudnn.rnn)


def allow_tf32(on: bool) -> None:
    """Round from now on, or do not; to be called while no other thread computes."""
    # torch refuses to read an older switch where the host program has set newer ones; such a switch is left alone.
    if _readable(torch.get_float32_matmul_precision) is not None:
        torch.set_float32_matmul_precision("highest")  # on a CPU too, where "medium" rounds
        torch.backends.cuda.matmul.allow_tf32 = on
    if _readable(lambda: torch.backends.cudnn.allow_tf32) is not None:
        torch.backends.cudnn.allow_tf32 = on
    for operation in OPERATIONS:
        operation.fp32_precision = "tf32" if on else "ieee"


def tf32_is_on() -> bool:
    """Whether products and convolutions of float32 round on a GPU now."""
    matmul, conv, _ = (operation.fp32_precision for operation in OPERATIONS)
    return matmul == conv == "tf32"


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Round for a while, or do not: for measurements in a program that computes in one thread."""
    before = _Switches.read()
    allow_tf32(on)
    try:
        yield
    finally:
        before.restore()


@dataclass(frozen=True)
class _Switches:
    """torch's switches as they were; None for an older one that could not be read."""

    matmul: str | None
    cudnn: bool | None
    precisions: tuple[str, ...]
    mkldnn: str

    @classmethod
    def read(cls) -> _Switches:
        return cls(
            _readable(torch.get_float32_matmul_precision),
            _readable(lambda: torch.backends.cudnn.allow_tf32),
            tuple(operation.fp32_precision for operation in OPERATIONS),
            _mkldnn.matmul.fp32_precision,
        )

    def restore(self) -> None:
        if self.matmul is not None:
            torch.set_float32_matmul_precision(self.matmul)
        if self.cudnn is not None:
            torch.backends.cudnn.allow_tf32 = self.cudnn
        for operation, precision in zip(OPERATIONS, self.precisions, strict=True):
            operation.fp32_precision = precision
        _mkldnn.matmul.fp32_precision = self.mkldnn


def _readable(read: Callable[[], T]) -> T | None:
    """What an older switch says, or None where torch refuses: the host program has set the newer ones."""
    try:
        return read()
    except RuntimeError:
        return None


@dataclass
class _NoTf32:
    """TF32 is off while any thread is inside; the last one to leave puts the switches back."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    inside: int = 0
    before: _Switches | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Every digit of float32 in products, also where other threads come and go."""
        with self.lock:
            if self.inside == 0:
                self.before = _Switches.read()
                allow_tf32(False)
            self.inside += 1
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if self.inside == 0 and self.before is not None:
                    self.before.restore()


no_tf32 = _NoTf32()
