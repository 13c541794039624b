"""Whether an operator is linear, and whether its transpose is the transpose: tried on random pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from fcs.core.errors import UsageError
from fcs.core.operators.base import Operator
from fcs.core.tf32 import no_tf32

TOLERANCE = 0.01  # of the norms; float32 stays below 1e-4, some transposes (tomography) are interpolated


def check_linear(operator: Operator, shape: tuple[int, int, int], device: torch.device | str = "cpu") -> None:
    """Try ``A(x + 2 z) = A x + 2 A z`` and ``<A x, y> = <x, A^T y>``.

    Args:
        operator: to be tried.
        shape: ``(C, H, W)`` of its pictures.
        device: where it is.

    Raises:
        UsageError: it is not linear, its transpose is another operator's, or it cannot measure such pictures.
    """
    draw = torch.Generator().manual_seed(0)
    x, z = (torch.randn(1, *shape, generator=draw).to(device) for _ in range(2))
    with no_tf32(), torch.no_grad():
        first, second, both = (_measured(operator, one) for one in (x, z, x + 2 * z))
        off = _relative(both - first - 2 * second, _norm(first) + 2 * _norm(second))
        if not off <= TOLERANCE:
            raise _refused(operator, f"a linear operator; A(x + 2 z) differs from A(x) + 2 A(z) by {off:.0%}")
        back = operator.A_adjoint(second)
        if not isinstance(back, Tensor) or back.shape != x.shape:
            raise _refused(operator, "an A_adjoint that gives pictures of the shape that A takes")
        off = _relative(
            (first * second).sum() - (x * back).sum(), _norm(first) * _norm(second) + _norm(x) * _norm(back)
        )
        if not off <= TOLERANCE:
            raise _refused(
                operator, f"an A_adjoint that is A's transpose; <A x, y> and <x, A_adjoint y> differ by {off:.0%}"
            )


def _measured(operator: Operator, x: Tensor) -> Tensor:
    size = "x".join(map(str, x.shape[1:]))
    try:
        y = operator.A(x)
    except Exception as error:  # operators of other packages raise whatever they stumble over
        lines = str(error).splitlines() or [type(error).__name__]
        raise _refused(operator, f"one for pictures of {size}; it says: {lines[0]}") from error
    if not isinstance(y, Tensor) or y.is_complex() or len(y) != len(x):
        kind = str(y.dtype) if isinstance(y, Tensor) else type(y).__name__
        raise _refused(operator, f"one that gives a real tensor (N, ...), not {kind}")
    return y


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x)


def _relative(difference: Tensor, scale: Tensor) -> float:
    return float((_norm(difference) / scale.clamp(min=1e-30)).item())


def _refused(operator: Operator, expected: str) -> UsageError:
    return UsageError.of("task.operator", type(operator).__name__, expected)
