"""Processes that train one module together on one machine, each with its own share of every batch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn


def fork_ranks(count: int) -> int:
    """Forks to `count` processes that share all memory so far; returns the rank, 0 in the caller.

    On a few busy cores, processes that meet once a step lose less than threads that meet in each operation.
    Threads within a process must be 1, since a forked thread pool hangs.
    """
    if count == 1:
        return 0
    store = Path(tempfile.mkdtemp()) / "store"
    rank = next((i for i in range(1, count) if os.fork() == 0), 0)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=count)
    return rank


def join_ranks(rank: int) -> None:
    """Ends the forked processes; only rank 0 returns."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    if rank > 0:
        os._exit(0)


def from_first(values: list[float]) -> list[float]:
    """The values that rank 0 has, on every rank: decisions must be the same on all."""
    if not dist.is_initialized():
        return values
    shared = torch.tensor(values, dtype=torch.float64)
    dist.broadcast(shared, 0)
    return [float(value) for value in shared]


@torch.no_grad()
def mean_gradients(module: nn.Module) -> None:
    """Replaces the gradients by their means over the ranks."""
    if not dist.is_initialized():
        return
    gradients: list[Tensor] = [weight.grad for weight in module.parameters() if weight.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))
