"""Between the host and a GPU: through pinned memory, and with one wait for all that comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def to_device(x: Tensor, device: torch.device | str) -> Tensor:
    """``x`` there. A copy from memory that is not pinned would wait for all work queued on the GPU."""
    goes = torch.device(device).type == "cuda" and not x.is_cuda
    return x.pin_memory().to(device, non_blocking=True) if goes else x.to(device)


def to_host(*found: Tensor) -> list[Tensor]:
    """All of them on the CPU; the copies are queued together, and waited for once."""
    copies = [one.to("cpu", non_blocking=True) for one in found]
    if any(one.is_cuda for one in found):
        torch.cuda.current_stream(next(one.device for one in found if one.is_cuda)).synchronize()
    return copies


@contextmanager
def beside(device: torch.device) -> Iterator[None]:
    """What this thread does on a GPU goes beside the queue of the sampler, and is not waited for behind that."""
    if device.type != "cuda":
        yield
        return
    with torch.cuda.stream(torch.cuda.Stream(device)):  # type: ignore[no-untyped-call]
        yield
