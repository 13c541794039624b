"""The residual's course as a drawing in the page: SVG, in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH, HEIGHT, EDGE = 320, 110, 8


def curve(residuals: Sequence[float], levels: int) -> str:
    """A line of the residuals over the levels, logarithmic, with the last in words; nothing before the first."""
    if not residuals:
        return ""
    logs = [math.log10(max(value, 1e-5)) for value in residuals]
    low, high = min(logs), max(logs)
    points = " ".join(
        f"{EDGE + (WIDTH - 2 * EDGE) * place / max(levels - 1, 1):.1f},"
        f"{EDGE + (HEIGHT - 2 * EDGE) * (high - value) / max(high - low, 0.1):.1f}"
        for place, value in enumerate(logs)
    )
    words = f"residual after level {len(residuals)} of {levels}: {residuals[-1]:.4f}"
    return (
        f'<figure class="curve"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="2"/></svg>'
        f"<figcaption>{words}, on a logarithmic scale</figcaption></figure>"
    )
