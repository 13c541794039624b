"""TF32: products of float32 on a GPU whose factors are rounded to ten mantissa bits.

torch's switches are of the whole process, so they must not be turned while another thread computes. A run sets them
once, before it starts threads (``allow_tf32``); what takes the other state for a while says so (``rounded``,
``no_tf32``), and threads in different states wait for each other. Both torch's older switches (``allow_tf32``) and its
newer ones (``fp32_precision``) are set, since torch refuses to read an older one that disagrees with the newer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

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


@dataclass(frozen=True)
class _Use:
    """What a thread computes with.

    Attributes:
        rounded: whether factors are rounded.
        final: whether parts that would have it otherwise are not asked.
    """

    rounded: bool
    final: bool


class _Users:
    """Which threads compute with TF32 and which without: never some with and some without at once.

    A thread that needs the other state waits for the rest. Kernels are chosen when they are launched, so it waits for
    launches and not for the GPU. The last one to leave puts the switches back.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: dict[int, _Use] = {}
        self._before: _Switches | None = None

    @contextmanager
    def using(self, use: _Use) -> Iterator[None]:
        """This thread's state for a while; within a final one it stays as it is."""
        me = threading.get_ident()
        outer = self._inside.get(me)
        if outer is not None and (outer.final or outer == use):
            yield
            return
        self._change(me, use)
        try:
            yield
        finally:
            self._change(me, outer)

    def _change(self, me: int, use: _Use | None) -> None:
        with self._changed:
            self._inside.pop(me, None)
            self._changed.notify_all()
            if use is None:
                if not self._inside and self._before is not None:
                    self._before.restore()
                    self._before = None
                return
            self._changed.wait_for(lambda: all(one.rounded == use.rounded for one in self._inside.values()))
            if self._before is None:
                self._before = _Switches.read()
            if not self._inside:
                allow_tf32(use.rounded)
            self._inside[me] = use


_users = _Users()


def no_tf32() -> AbstractContextManager[None]:
    """Every digit of float32 in this thread's products, whatever is called meanwhile asks for."""
    return _users.using(_Use(rounded=False, final=True))


def tf32_in_parts() -> AbstractContextManager[None]:
    """Every digit of float32 in this thread's products, but for parts that take TF32 (``rounded``)."""
    return _users.using(_Use(rounded=False, final=False))


def rounded() -> AbstractContextManager[None]:
    """TF32 in this thread's products for a part that bears it, unless they are to have every digit (``no_tf32``)."""
    return _users.using(_Use(rounded=True, final=False))


class _Rounded(torch.autograd.Function):
    """A function whose value and gradient are computed with TF32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad(), rounded():
            ctx.leaf = x.detach().requires_grad_()
            ctx.made = call(ctx.leaf)
        made: Tensor = ctx.made.detach()
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        with rounded():
            (gradient,) = torch.autograd.grad(ctx.made, ctx.leaf, gradients[0], retain_graph=True)
        return gradient, None


def with_tf32(call: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``call(x)`` with TF32 on a GPU, its gradient too (a first one); on a CPU there is none."""
    if not x.is_cuda:
        return call(x)
    if torch.is_grad_enabled() and x.requires_grad:
        made: Tensor = _Rounded.apply(x, call)  # type: ignore[no-untyped-call]
        return made
    with rounded():
        return call(x)
