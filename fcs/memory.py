"""How much memory this process holds: of the GPU by torch's allocator, of the machine by the kernel's count."""

from __future__ import annotations

from pathlib import Path

import torch

SAID = ("out of memory", "can't allocate memory", "not enough memory")  # by torch, of a GPU and of a CPU


def held(device: torch.device, peak: bool) -> int:
    """Bytes that this process holds now, or at the highest since the last look at now.

    Raises:
        OSError: a machine without Linux's /proc, where there is no GPU.
    """
    if device.type == "cuda":
        if not peak:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device) if peak else torch.cuda.memory_allocated(device)
    if not peak:
        Path("/proc/self/clear_refs").write_text("5")  # the highest begins anew
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(fields["VmHWM" if peak else "VmRSS"].split()[0])


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception of torch's or Python's says that memory was short."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in SAID)
