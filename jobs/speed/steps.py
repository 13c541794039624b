"""Where a run's time goes: the clock around its parts, summed over the batches after the first."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from fcs.core.denoiser import Denoiser
from fcs.core.per_sample import RecordNoise
from fcs.engine import encode_results
from fcs.models.stable_diffusion import StableDiffusion
from fcs.shards.ledger.ledger import Ledger
from fcs.tasks.pipeline import Pipeline
from speed.bare import ended
from speed.pipeline import Setting, steady

# What is timed, and under which name. Threads behind the network do the last three while the next batch is sampled.
TIMED: list[tuple[Any, str, str]] = [
    (Pipeline, "__call__", "batch"),
    (Denoiser, "forward", "network"),
    (RecordNoise, "__call__", "noise"),
    (StableDiffusion, "encode", "encode, decode"),
    (StableDiffusion, "decode", "encode, decode"),
    (encode_results.ResultEncoder, "_judged", "metrics"),
    (encode_results, "encode", "PNG"),
    (Ledger, "finish", "disk"),
]
BEHIND = ("metrics", "PNG", "disk")
INSIDE = ("network", "noise", "encode, decode")


class Clock:
    """Seconds by name; calls inside a call of the same name in the same thread count once."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._busy = threading.local()

    def around(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        """``do``, timed; on a GPU it is waited for, except behind the network."""

        def timed(*given: Any, **named: Any) -> Any:
            if getattr(self._busy, name, False):
                return do(*given, **named)
            setattr(self._busy, name, True)
            began = time.perf_counter()
            try:
                made = do(*given, **named)
                if name not in BEHIND:
                    ended(self.device)
                return made
            finally:
                setattr(self._busy, name, False)
                self.seconds[name].append(time.perf_counter() - began)

        return timed

    @contextmanager
    def running(self) -> Iterator[None]:
        """Times all of ``TIMED``."""
        with ExitStack() as stack:
            for owner, method, name in TIMED:
                stack.enter_context(patch.object(owner, method, self.around(name, getattr(owner, method))))
            yield


def steps(setting: Setting, calls: int, batches: int, shard: Path, device: torch.device) -> list[dict[str, Any]]:
    """A row a part: seconds a batch, and its share of the time from batch to batch."""
    clock = Clock(device)
    out = setting.work / "run"
    with clock.running():
        total, counted = steady(setting.arguments(shard, out, calls), out)
    whole = total.wall / counted
    each = {name: sum(times[len(times) // (counted + 1) :]) / counted for name, times in clock.seconds.items()}
    batch = each.pop("batch")
    parts = {name: each[name] for name in INSIDE if name in each}
    parts["error, direction"] = batch - sum(parts.values())
    parts["rest"] = whole - batch
    rows = [{"part": name, "seconds": seconds, "share": seconds / whole} for name, seconds in parts.items()]
    behind = [{"part": f"{name}, behind", "seconds": each[name], "share": each[name] / whole} for name in BEHIND]
    return rows + behind


def table(rows: list[dict[str, Any]]) -> str:
    """For people."""
    return "\n".join(f"{row['part']:18s} {1e3 * row['seconds']:9.1f} ms a batch {row['share']:7.2%}" for row in rows)
