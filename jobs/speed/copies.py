"""A call of the network in 16 bits, its weights rounded at every call or once: what the copies beside are worth."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch

from fcs.core.autocast import AUTOCAST, halve, keep_ends, keep_sums
from fcs.models import find, load
from speed import bare
from speed.timing import in_turn, median, ratio, spent


@torch.no_grad()
def copies(model: str, precision: str, batches: list[int], repeats: int, device: torch.device) -> list[dict[str, Any]]:
    """A row for each batch: seconds a call without copies and with, and their ratio in the rounds."""
    own, kind = load(find(model)).to(device), AUTOCAST[precision] or torch.bfloat16
    plain = own.denoiser.network
    keep_ends(plain)
    keep_sums(plain)
    halved = deepcopy(plain)
    halve(halved, kind)
    rows = []
    for batch in batches:
        cond = own.guided([""] * batch).cond
        x, t = torch.randn(batch, *own.shape, device=device), torch.full((batch,), 500.0, device=device)

        def call(network: torch.nn.Module, x: Any = x, t: Any = t, cond: Any = cond) -> torch.Tensor:
            with torch.autocast(device.type, kind):
                made = network(x, t, cond)
            bare.ended(device)
            return made

        assert torch.equal(call(plain), call(halved))
        cells = {name: lambda one=one: spent(lambda: call(one)) for name, one in (("plain", plain), ("halved", halved))}
        found = in_turn(cells, repeats)
        row = {"batch": batch, "plain_s": median(found["plain"], "cpu"), "halved_s": median(found["halved"], "cpu")}
        rows.append({**row, "times": ratio(found["plain"], found["halved"], "cpu")})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """For people."""
    line = (
        "batch {batch:3d}: {plain_s:.3f} CPU s a call, {halved_s:.3f} with 16-bit copies of weights: {times:.2f} times"
    )
    return "\n".join(line.format(**row) for row in rows)
