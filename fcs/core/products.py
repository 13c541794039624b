"""Networks with weights in 16 bits, of which only the products are computed in 16 bits.

Whatever a network is made of, it is changed in no way: torch hands each of its operations to a mode. Outside products
all is in float32, also where the network's code rounds on purpose, and so are products that are done with x_t itself,
and the last one. What is left to be rounded are the factors and the outcome of the products between.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fcs.core.autocast import ROUNDED

TRACES = 4  # a pipeline may have a network for each part of the levels; more have no product with x
PRODUCTS = {
    *(F.linear, F.bilinear, F.scaled_dot_product_attention),
    *(F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    *(torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.baddbmm, torch.einsum),
    *(Tensor.matmul, Tensor.__matmul__, Tensor.mm, Tensor.bmm, Tensor.addmm, Tensor.baddbmm),
}
TABLES = {F.embedding, F.embedding_bag}  # not to be widened as a whole


class Products(TorchFunctionMode):
    """Operations below it in float32, products in 16 bits.

    Args:
        kind: type of the products.

    Attributes:
        kind: the same.
        exact: whether the products are in float32 too, for reference.
        paused: whether all is as without the mode.
    """

    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()
        self.kind = kind
        self.exact = False
        self.paused = False
        self._ends: set[int] = set()  # ids of the weights whose products are in float32
        self._trace: _Trace | None = None
        self._met = False
        self._traces = 0

    def around(self, call: Callable[[Tensor], Any], x: Tensor, exact: bool) -> Any:
        """``call(x)`` in this arithmetic.

        Where none of the weights is known that are multiplied with x itself, they are found first, by one more call.
        """
        self.exact, self._met = exact, False
        with self:
            made = call(x)
        if exact or self._met or self._traces == TRACES:
            return made
        self._traces += 1
        self._trace = _Trace(x)
        with self:
            call(x)
        self._ends |= self._trace.ends
        self._trace = None
        with self:
            return call(x)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Operations as they are written, for a while."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.paused or getattr(func, "__name__", "") == "__get__":
            return func(*args, **kwargs)
        if func in TABLES:
            return _widened(func(*args, **kwargs))
        if func in PRODUCTS:
            return self._product(func, args, kwargs)
        # What is changed in place stays the same tensor.
        kept = args[:1] if _in_place(func) else ()
        changed = _mapped(args[len(kept) :], torch.float32)
        made = func(*kept, *changed, **_mapped(kwargs, torch.float32))
        if self._trace is not None:
            self._trace.follow(args, kwargs, made)
        return made

    def _product(self, func: Any, args: Any, kwargs: Any) -> Any:
        weights = id(args[1]) if len(args) > 1 else 0
        end = weights in self._ends
        self._met |= end
        kind = torch.float32 if self.exact or end else self.kind
        made = _widened(func(*_mapped(args, kind), **_mapped(kwargs, kind)))
        if self._trace is not None:
            self._trace.multiply(args)
        return made


class _Trace:
    """Follows a tensor to the products it takes part in.

    Attributes:
        ends: ids of the weights that are multiplied with it, or with what was made of it without a product; and of
            the last one.
    """

    def __init__(self, x: Tensor) -> None:
        self._raw: dict[int, weakref.ref[Tensor]] = {}
        self._first: set[int] = set()
        self._last = 0
        self._mark(x)

    @property
    def ends(self) -> set[int]:
        return self._first | {self._last}

    def follow(self, args: Any, kwargs: Any, made: Any) -> None:
        if any(self._is_raw(part) for part in _tensors((args, kwargs))):
            for part in _tensors(made):
                self._mark(part)

    def multiply(self, args: Any) -> None:
        if len(args) < 2 or not isinstance(args[1], nn.Parameter):
            return
        self._last = id(args[1])
        if any(self._is_raw(part) for part in _tensors(args)):
            self._first.add(self._last)

    def _mark(self, x: Tensor) -> None:
        self._raw[id(x)] = weakref.ref(x)

    def _is_raw(self, x: Tensor) -> bool:
        found = self._raw.get(id(x))
        return found is not None and found() is x


def _in_place(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    if name.startswith("__"):
        return name in ("__setitem__", "__set__") or name.startswith("__i")
    return name.endswith("_")


def _mapped(given: Any, kind: torch.dtype) -> Any:
    """The same arguments, with tensors and types of real numbers in 16 bits (or float32) as ``kind``."""
    if isinstance(given, Tensor):
        return given.to(kind) if given.dtype in ROUNDED or given.dtype == torch.float32 else given
    if isinstance(given, torch.dtype):
        return kind if given in ROUNDED else given
    if type(given) in (tuple, list):
        return type(given)(_mapped(part, kind) for part in given)
    if type(given) is dict:
        return {name: _mapped(part, kind) for name, part in given.items()}
    return given


def _widened(made: Any) -> Any:
    return _mapped(made, torch.float32)


def _tensors(given: Any) -> Iterator[Tensor]:
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, tuple | list):
        for part in given:
            yield from _tensors(part)
    elif isinstance(given, dict):
        yield from _tensors(list(given.values()))
