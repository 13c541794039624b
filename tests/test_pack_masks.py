"""Generated masks cover the part of the picture that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fcs.tools.pack.masks import FRACTIONS, draw


@pytest.mark.parametrize("kind", FRACTIONS)
@pytest.mark.parametrize("size", [(64, 48), (17, 16), (1, 1)])
def test_masks(kind: str, size: tuple[int, int]) -> None:
    for fraction in (FRACTIONS[kind], 0.05, 0.9):
        first, same, other = (np.array(draw(kind, *size, fraction, seed)) for seed in (0, 0, 1))
        assert first.dtype == np.uint8
        assert first.shape == size[::-1]
        assert set(np.unique(first)) <= {0, 255}
        assert np.array_equal(first, same)
        if size == (64, 48):
            share, allowed = (first > 0).mean(), 0.15 if kind == "freeform" else 0.03
            assert fraction - 0.03 < share < fraction + allowed
            assert np.array_equal(first, other) == (kind in ("left", "right", "top", "bottom", "outpaint")) or (
                kind == "half"
            )


def test_which_side() -> None:
    sides = {kind: np.array(draw(kind, 8, 6, 0.5, 0)) > 0 for kind in ("left", "right", "top", "bottom")}
    assert sides["left"][:, :4].all()
    assert not sides["left"][:, 4:].any()
    assert np.array_equal(sides["right"], ~sides["left"])
    assert sides["top"][:3].all()
    assert np.array_equal(sides["bottom"], ~sides["top"])
    halves = {draw("half", 8, 6, 0.5, seed).tobytes() for seed in range(40)}
    assert halves == {Image.fromarray(np.where(side, 255, 0).astype(np.uint8)).tobytes() for side in sides.values()}
    border = np.array(draw("outpaint", 8, 8, 0.75, 0)) > 0
    assert not border[2:6, 2:6].any()
    assert border.sum() == 64 - 16
