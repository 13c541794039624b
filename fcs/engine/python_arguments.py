"""Arguments of the Python calls in the spellings that people use. A mistake is one error that names its argument."""

from __future__ import annotations

import math
import operator
import secrets
from collections.abc import Callable, Iterable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar, get_args

import torch

from fcs.core.errors import UsageError, first_line, nearest
from fcs.core.foreign_names import ARGUMENTS
from fcs.core.operators.base import METHODS, Operator
from fcs.core.texts import is_text
from fcs.models.base import Model
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.models.from_memory import from_memory

P = ParamSpec("P")
R = TypeVar("R")
Kind = TypeVar("Kind")
SEEDS = "a whole number from 0 to 2^63 - 1, None or a torch.Generator"


def answering(call: Callable[P, R]) -> Callable[P, R]:
    """A call that answers an argument which it does not have with its own name for it."""
    own = signature(call).parameters

    @wraps(call)
    def answered(*given: P.args, **named: P.kwargs) -> R:
        for name, value in named.items():
            if name not in own:
                meant = ARGUMENTS.get(name) or nearest(name, own)
                hint = f"; here it is called {meant}" if meant else ""
                raise UsageError(f"{name}={_shown(value)}: expected an argument of fcs.{call.__name__}{hint}")
        return call(*given, **named)

    return answered


def checked_model(model: Any) -> Model:
    """A model whose weights are in float32, or more, or a pipeline in any type.

    Raises:
        UsageError: something else; weights in 16 bits; a pipeline that does not fit.
    """
    if not isinstance(model, Model | type) and hasattr(model, "components"):
        model = from_memory(model, None, {})
    if not isinstance(model, Model):
        raise UsageError.of("model", _shown(model), "what fcs.load returns or a diffusers pipeline")
    if isinstance(model, DiffusersPipeline):  # it casts what its network sees
        return model
    for weights in model.parameters():
        if weights.dtype in (torch.float16, torch.bfloat16):
            bits = "16" if weights.dtype == torch.float16 else "bf16"
            expected = f'float32; fcs.load(name, precision="{bits}") has the network alone compute in 16 bits'
            raise UsageError.of("model", f"a model in {weights.dtype}", expected)
    return model


def whole(name: str, value: Any, least: int = 1) -> int:
    """A whole number in any type that is one.

    Raises:
        UsageError: it is none, or too small.
    """
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None or found < least:
        raise UsageError.of(name, _shown(value), f"a whole number, {least} or more")
    return found


def real(name: str, value: Any, least: float = 0.0, most: float = math.inf) -> float:
    """A finite number.

    Raises:
        UsageError: it is none, or outside the range.
    """
    limits = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
    try:
        found = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, RuntimeError):  # a tensor of several numbers raises the last
        found = math.nan
    if not math.isfinite(found) or not least <= found <= most:
        raise UsageError.of(name, _shown(value), f"a number, {limits}")
    return found


def one_of(name: str, value: Any, choices: Any) -> Any:
    """One of the values of a ``Literal``.

    Raises:
        UsageError: another one.
    """
    known = get_args(choices)
    if not isinstance(value, str) or value not in known:
        raise UsageError.of(name, _shown(value), f"one of {', '.join(known)}", known)
    return value


def device_of(value: Any) -> torch.device:
    """A device that is there; if None, a GPU where there is one.

    Raises:
        UsageError: torch knows no such device, or this machine has none.
    """
    if value is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(value)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:  # torch without CUDA asserts
        raise UsageError.of("device", value, f"a device of this machine ({first_line(error)})") from error
    return device


def text(name: str, value: Any) -> str:
    """A text; None is an empty one.

    Raises:
        UsageError: something else.
    """
    if value is not None and not is_text(value):
        raise UsageError.of(name, _shown(value), "a text, in UTF-8" if isinstance(value, str) else "a text")
    return value or ""


def texts(name: str, value: Any) -> str | list[str]:
    """One text, or a list of them; None is an empty one.

    Raises:
        UsageError: something else.
    """
    if value is None or isinstance(value, str):
        return text(name, value)
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise UsageError.of(name, _shown(value), "a text, or a list with one an image")
    return [text(f"{name}[{place}]", item) for place, item in enumerate(value)]


def seeds(value: Any, count: int) -> list[int]:
    """A seed for each of ``count`` pictures.

    Args:
        value: that of the first, counting up; one an image; None, or a ``torch.Generator``, draws them.
        count: pictures.

    Raises:
        UsageError: something else.
    """
    if value is None or isinstance(value, torch.Generator):
        return [_seed("seed", value) for _ in range(count)]
    if isinstance(value, list | tuple | range) or getattr(value, "ndim", 0) == 1:
        return [_seed(f"seed[{place}]", item) for place, item in enumerate(value)]
    first = _seed("seed", value)
    return [_seed("seed", first + place) for place in range(count)]


def seed_or_generator(seed: Any, generator: Any) -> Any:
    """What seeds are made of: the generator where there is one.

    Raises:
        UsageError: both were given.
    """
    if generator is None:
        return seed
    if seed != 0:
        raise UsageError.of("generator", type(generator).__name__, f"none beside seed={_shown(seed)}")
    return generator


def chosen(name: str, value: Any, kind: type[Kind]) -> Kind:
    """An object of a kind that a configuration can choose: itself, or by a short name, a class path or its class.

    Args:
        name: of the argument, which is the key of configurations too.
        value: what was given.
        kind: what it must be.

    Raises:
        UsageError: no such name, another kind, or a class with arguments that have no defaults.
    """
    if isinstance(value, kind) and not isinstance(value, type):
        return value
    from fcs.engine.config import class_names  # reads the folder of each kind

    key = "task.operator" if name == "operator" else name
    found = class_names.imported(key, class_names.class_path(key, value)) if isinstance(value, str) else value
    if not isinstance(found, type) or not issubclass(found, kind):
        lacking = [method for method in METHODS if not callable(getattr(found, method, None))]
        if kind is Operator and len(lacking) < len(METHODS):
            expected = f"a linear operator, with {', '.join(METHODS)}; this has no {', '.join(lacking)}"
            raise UsageError.of(name, (found if isinstance(found, type) else type(found)).__name__, expected)
        names, article = ", ".join(class_names.shipped(key)), "an" if kind is Operator else "a"
        raise UsageError.of(name, _shown(value), f"{article} {kind.__name__} or the name of one ({names})")
    try:
        return found()
    except TypeError as error:
        expected = f"an object; {found.__name__} has arguments without defaults ({error})"
        raise UsageError.of(name, _shown(value), expected) from error


def _seed(name: str, value: Any) -> int:
    if value is None:
        return secrets.randbits(63)
    if isinstance(value, torch.Generator):
        return int(torch.randint(2**63 - 1, (), generator=value, device=value.device))
    try:
        found = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = int(value) if isinstance(value, float) and value.is_integer() else -1
    if not 0 <= found < 2**63:
        raise UsageError.of(name, _shown(value), SEEDS)
    return found


def _shown(value: Any) -> str:
    """A value as it is typed, or the name of its class where that would be long."""
    plain = isinstance(value, str | int | float | bool | None)
    return repr(value) if plain else value.__name__ if isinstance(value, type) else type(value).__name__
