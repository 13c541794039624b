"""Constraints: the error points towards the target and is -grad loss."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fcs.core.constraints import Constraint, Known, Measured, Sum


def rows(seed: int, size: int = 4) -> Tensor:
    return torch.randn(3, 2, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def half(size: int = 4) -> Tensor:
    """Known left, softly known in one column, free on the right; ``(3, 1, H, W)``."""
    mask = torch.zeros(3, 1, size, size, dtype=torch.float64)
    mask[..., : size // 2] = 1
    mask[..., size // 2] = 0.3
    return mask


def reduce(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def decode(x: Tensor) -> Tensor:
    return torch.tanh(x) + 0.1 * x


KNOWN = Known(rows(1), half())
MEASURED = Measured(rows(2, 2), reduce, decode)
ALL = [KNOWN, MEASURED, Sum([KNOWN, MEASURED], [0.5, 2.0]), Sum([MEASURED])]


@pytest.mark.parametrize("constraint", ALL)
def test_error_is_minus_the_gradient_of_the_loss(constraint: Constraint) -> None:
    x0 = rows(0).requires_grad_()
    (gradient,) = torch.autograd.grad(constraint.loss(x0).sum(), x0)
    with torch.no_grad():  # as a run samples
        torch.testing.assert_close(constraint.error(x0), -gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("constraint", ALL)
def test_a_small_step_along_the_error_lowers_every_rows_loss(constraint: Constraint) -> None:
    x0 = rows(0)
    assert (constraint.loss(x0 + 1e-3 * constraint.error(x0)) < constraint.loss(x0)).all()


@pytest.mark.parametrize("constraint", ALL)
def test_rows_are_independent(constraint: Constraint) -> None:
    x0 = rows(0)
    other = torch.cat([x0[:1], rows(9)[1:]])
    assert torch.equal(constraint.loss(other)[0], constraint.loss(x0)[0])
    assert torch.equal(constraint.error(other)[0], constraint.error(x0)[0])
    assert not torch.equal(constraint.error(other)[1], constraint.error(x0)[1])


def test_known_leaves_free_entries_alone() -> None:
    error = KNOWN.error(rows(0))
    assert torch.equal(error[..., 3], torch.zeros_like(error[..., 3]))
    assert torch.equal(error[..., :2], (rows(1) - rows(0))[..., :2])


def test_known_residual_is_the_rms_over_known_entries() -> None:
    x0 = rows(1)
    x0[..., :2] += 0.25  # known: counts
    x0[..., 3] += 100  # free: does not
    x0[..., 2] += 0.25  # softly known: by its weight
    torch.testing.assert_close(KNOWN.residual(x0), torch.full((3,), 0.25, dtype=torch.float64))


def test_known_without_known_entries_is_met() -> None:
    nothing = Known(rows(1), torch.zeros(3, 1, 4, 4, dtype=torch.float64))
    for value in (nothing.loss(rows(0)), nothing.error(rows(0)), nothing.residual(rows(0))):
        assert torch.equal(value, torch.zeros_like(value))


def test_measured_error_spreads_the_normed_difference() -> None:
    # d|y - A x|/dx = -A^T (y - A x) / |y - A x|; the transpose of an average over 2x2 is a quarter to each.
    x0, y = rows(0), rows(2, 2)
    r = y - reduce(x0)
    expected = F.interpolate(r / r.flatten(1).norm(dim=1).reshape(3, 1, 1, 1), scale_factor=2) / 4
    torch.testing.assert_close(Measured(y, reduce, lambda z: z).error(x0), expected, rtol=0, atol=1e-12)


def test_measured_is_finite_where_it_is_met_and_mates_do_not_notice() -> None:
    x0 = rows(0)
    y = rows(2, 2)
    met = y.clone()
    met[1] = reduce(decode(x0))[1]
    error = Measured(met, reduce, decode).error(x0)
    assert torch.equal(error[1], torch.zeros_like(error[1]))
    assert torch.equal(error[[0, 2]], Measured(y, reduce, decode).error(x0)[[0, 2]])
    assert torch.equal(Measured(met, reduce, decode).residual(x0)[1], torch.tensor(0.0, dtype=torch.float64))


def test_measured_residual_is_in_pixels() -> None:
    x0 = rows(0)
    off = Measured(reduce(decode(x0)) + 0.1, reduce, decode)
    torch.testing.assert_close(off.residual(x0), torch.full((3,), 0.1, dtype=torch.float64))


def test_a_constraint_needs_only_a_loss() -> None:
    class Brightness(Constraint):
        def loss(self, x0: Tensor) -> Tensor:
            return (x0.flatten(1).mean(1) - 0.5).square()

    x0 = rows(0)
    gap = x0.flatten(1).mean(1) - 0.5
    expected = (-2 * gap / 32).reshape(3, 1, 1, 1).expand_as(x0)
    torch.testing.assert_close(Brightness().error(x0), expected)
    torch.testing.assert_close(Brightness().residual(x0), (2 * gap / 32).abs())


def test_sum_refuses_weights_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="1 weights for 2 constraints"):
        Sum([KNOWN, MEASURED], [1.0])
