"""Seeds as files and people write them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

EXPECTED = "expected an integer from 0 to 2^63 - 1"
LARGEST = 2**63 - 1


def whole_seed(value: Any) -> int:
    """A seed that is a whole number in any spelling: ``42``, ``42.0``, ``"42"``, ``"42.0"``.

    Raises:
        ValueError: it is none from 0 to 2^63 - 1.
    """
    text = value.strip().removesuffix(".0") if isinstance(value, str) else ""
    seed = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else value
    if isinstance(seed, float | Decimal) and math.isfinite(seed) and seed == int(seed):
        seed = int(seed)
    if type(seed) is not int or not 0 <= seed <= LARGEST:
        raise ValueError(f"{value!r}, {EXPECTED}")
    return seed
