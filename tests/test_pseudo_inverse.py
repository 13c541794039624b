"""The pseudo-inverse by rotations is torch's own."""

from __future__ import annotations

import pytest
import torch

from fcs.core.pseudo_inverse import pseudo_inverse


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_torchs_own(count: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(count)
    R = torch.randn(64, count, count, dtype=torch.float64, generator=generator)
    R[:8] *= 1e-12
    R[8:16, :, 0] *= 1e-7  # dropped
    if count > 1:
        R[16:24, :, 1] = R[16:24, :, 0]  # of lower rank
    R[24:28] = 0
    expected = torch.linalg.pinv(R, rtol=1e-4)
    found = pseudo_inverse(R.to(dtype), 1e-4).double()
    assert (found[24:28] == 0).all()
    # An inverse amplifies rounding by its condition: at most 1e4 once what is below the cut-off is dropped.
    relative = torch.linalg.matrix_norm(found - expected) / torch.linalg.matrix_norm(expected).clamp(min=1e-30)
    assert relative.max() < 2e4 * 10 * torch.finfo(dtype).eps


def test_more_rows_than_columns() -> None:
    R = torch.randn(5, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pseudo_inverse(R, 1e-10), torch.linalg.pinv(R))
