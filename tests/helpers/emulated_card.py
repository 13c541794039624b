"""A GPU in software: tensors that say they are on ``cuda:0`` and hold their values in the machine's memory.

What would be wrong or slow on a card shows here. Operands on two devices raise, and what makes the host wait for the
card is noted: reading a value, shapes that depend on values, copies from or to memory that is not pinned. The values
are those of the CPU, since its kernels compute them.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

import fcs

CARD = torch.device("cuda", 0)
ATEN: Any = torch.ops.aten
ROOT = Path(fcs.__file__).parent
COPIES = {ATEN._to_copy.default, ATEN.copy_.default}
# Reading a value, or a shape that depends on values.
READS = set(
    [
        "_local_scalar_dense",
        "equal",
        "is_nonzero",
        "nonzero",
        "masked_select",
        "unique_dim",
        "_unique",
        "_unique2",
        "unique_consecutive",
        "bincount",
        "argwhere",
    ]
)
# Their kernels on a GPU look at the outcome of the factorisation.
CHECKED = set(["_linalg_check_errors", "_linalg_svd", "_linalg_eigh", "linalg_eig", "linalg_pinv", "linalg_lstsq"])
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}


class OnCard(Tensor):
    """A tensor on the emulated card.

    To torch's own code it lies on the meta device, whose gradients need no driver; autocast sees a card's.

    Attributes:
        held: its values, in the machine's memory.
    """

    held: Tensor
    device = property(lambda self: CARD)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_meta = property(lambda self: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCard:
        shape = torch.empty_strided(held.shape, held.stride(), dtype=held.dtype, device="meta")
        made: OnCard = torch.Tensor._make_subclass(cls, shape, False, device_for_backend_keys=CARD)  # type: ignore[attr-defined]
        made.held = held.detach()
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} on the emulated card, which is switched off")

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


@dataclass(frozen=True)
class Wait:
    """Something that makes the host wait for the card.

    Attributes:
        operation: torch's name of it.
        place: the line of ours that it came from.
    """

    operation: str
    place: str


class Literals(TorchFunctionMode):
    """Tensors of Python's numbers: torch makes them on the host, and copies them below all modes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in (torch.tensor, torch.as_tensor) or kwargs.get("device") != CARD:
            return func(*args, **kwargs)
        return func(*args, **{**kwargs, "device": None}).to(CARD)


class Card(TorchDispatchMode):
    """The card while it is switched on.

    Attributes:
        launches: operations that computed something there.
        waits: what the host waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0
        self.waits: list[Wait] = []
        self._literals = Literals()
        self._pinned: set[int] = set()
        self._kept: list[Tensor] = []

    def __enter__(self) -> Self:
        self._literals.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._literals.__exit__(*raised)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
        if func is ATEN.is_pinned.default:
            return args[0].untyped_storage().data_ptr() in self._pinned
        if func in COPIES:
            self._copied(func, args, kwargs)
        else:
            self._checked(func, given)
        if func is ATEN._pin_memory.default:
            return self._pin(args[0])
        there = _goes_to_card(func, given, args, kwargs)
        made = func(*tree_map(_held, args), **_placed_here(tree_map(_held, kwargs), there))
        return self._back(func, made, given, there)

    def _back(self, func: Any, made: Any, given: list[Tensor], there: bool) -> Any:
        """The outcome as tensors of the card; what was changed in place stays the same tensor."""
        known = {id(one.held): one for one in given if isinstance(one, OnCard)}
        if there and not func.is_view:
            self.launches += 1

        def wrap(one: Any) -> Any:
            if not isinstance(one, Tensor):
                return one
            if id(one) in known:
                assert known[id(one)].shape == one.shape, f"{func} changes a shape in place"
                return known[id(one)]
            return OnCard(one) if there else one

        return tree_map(wrap, made)

    def _checked(self, func: Any, given: list[Tensor]) -> None:
        """Refuse operands on two devices, as torch does, and note what waits."""
        there = [one for one in given if isinstance(one, OnCard)]
        here = [one for one in given if not isinstance(one, OnCard)]
        name = func.overloadpacket.__name__
        if there and name in INDEXED and isinstance(given[0], OnCard):
            if here or any(one.dtype in (torch.bool, torch.uint8) for one in given[1:]):
                self._wait(name)  # an index that is copied, or counted
        elif there and any(one.ndim > 0 for one in here):
            raise RuntimeError(f"{func}: expected all tensors to be on the same device, found cuda:0 and cpu")
        elif there and name in READS | CHECKED:
            self._wait(name)

    def _copied(self, func: Any, args: Any, kwargs: Any) -> None:
        """Note a copy between the devices unless it is asynchronous, which takes pinned memory on this side."""
        if func is ATEN._to_copy.default:
            source, goes = args[0], kwargs.get("device")
            leaves = isinstance(source, OnCard) and goes is not None and goes.type == "cpu"
            comes = not isinstance(source, OnCard) and goes is not None and goes.type != "cpu"
            # Where it is asked to go to the host without waiting, torch itself takes pinned memory.
            held = kwargs.get("non_blocking", False) and (leaves or self._is_pinned(source))
        else:
            target, source = args[0], args[1]
            leaves = isinstance(source, OnCard) and not isinstance(target, OnCard)
            comes = isinstance(target, OnCard) and not isinstance(source, OnCard)
            blocking = not (len(args) > 2 and args[2]) and not kwargs.get("non_blocking", False)
            held = not blocking and self._is_pinned(target if leaves else source)
        if (leaves or comes) and not held:
            self._wait("copy to the host" if leaves else "copy from pageable memory")

    def _pin(self, one: Tensor) -> Tensor:
        made = one.clone()
        self._kept.append(made)  # or its address would be given to another
        self._pinned.add(made.untyped_storage().data_ptr())
        return made

    def _is_pinned(self, one: Tensor) -> bool:
        return one.untyped_storage().data_ptr() in self._pinned

    def _wait(self, operation: str) -> None:
        frames = [frame for frame in traceback.extract_stack() if Path(frame.filename).is_relative_to(ROOT)]
        place = f"{Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].lineno}" if frames else "elsewhere"
        self.waits.append(Wait(operation, place))


def _held(one: Any) -> Any:
    return one.held if isinstance(one, OnCard) else one


def _placed_here(kwargs: dict[str, Any], there: bool) -> dict[str, Any]:
    return {**kwargs, "device": torch.device("cpu")} if there and kwargs.get("device") is not None else kwargs


def _goes_to_card(func: Any, given: list[Tensor], args: Any, kwargs: Any) -> bool:
    device = kwargs.get("device")
    if device is not None:
        # To torch's own code a tensor of the card lies on the meta device, and so does what is made where it is.
        return bool(device.type in ("cuda", "meta"))
    if func is ATEN.copy_.default:
        return isinstance(args[0], OnCard)
    return any(isinstance(one, OnCard) for one in given)


@contextmanager
def a_driver() -> Iterator[None]:
    """A torch that was built without CUDA takes ``cuda:0`` for a device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        patch.setattr("torch.amp.autocast_mode.torch.cuda.is_bf16_supported", lambda *given, **more: True)
        patch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(synchronize=lambda: None))
        patch.setattr(torch.cuda, "Stream", lambda device: None)
        patch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        patch.setattr(nn.Module, "to", _with_its_class(nn.Module.to))
        yield


def _with_its_class(to: Callable[..., Any]) -> Callable[..., Any]:
    """Modules that move to the card, whose parameters become tensors of it."""

    def moved(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not any(isinstance(one, torch.device) and one.type == "cuda" for one in (*args, *kwargs.values())):
            return to(self, *args, **kwargs)
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            return to(self, *args, **kwargs)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)

    return moved


def counted(card: Card, owner: type, names: tuple[str, ...], patch: pytest.MonkeyPatch) -> list[Wait]:
    """What the host waits for inside of these methods; the list grows as they run."""
    found: list[Wait] = []

    def watch(method: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            before = len(card.waits)
            made = method(*args, **kwargs)
            found.extend(card.waits[before:])
            return made

        return watched

    for name in names:
        patch.setattr(owner, name, watch(getattr(owner, name)))
    return found
