"""How much memory this process holds: on a GPU by torch's allocator, on the CPU by the kernel's count."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

# By torch, of a GPU and of a CPU; then by cuBLAS, cuDNN, cuSOLVER and cuFFT, whose status is all that they say.
MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED", "ALLOCATION_FAILED")


def held(device: torch.device, peak: bool) -> int:
    """Bytes that this process holds: now, or at the peak since the last call without ``peak``.

    On a CPU, pages that malloc has free go back to the system first: what takes them again would not be counted.

    Raises:
        OSError: a machine without Linux's /proc, where there is no GPU.
    """
    if device.type == "cuda":
        if not peak:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device) if peak else torch.cuda.memory_allocated(device)
    if not peak:
        _trim()
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(fields["VmHWM" if peak else "VmRSS"].split()[0])


def _trim() -> None:
    """Gives malloc's free pages back to the system; only glibc can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def free(device: torch.device) -> int:
    """Bytes that this process may still take: of the GPU, or of the machine and of the control groups it is in.

    Raises:
        OSError: a machine without Linux's /proc, where there is no GPU.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return min(1024 * int(fields["MemAvailable"].split()[0]), *_granted())


def _granted(groups: Path = Path("/proc/self/cgroup"), top: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Bytes that each control group above this process leaves it (what SLURM and containers limit)."""
    left = [2**62]
    for line in groups.read_text().splitlines():
        _, kinds, name = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        limit, used = ("memory.max", "memory.current") if not kinds else ("limit_in_bytes", "usage_in_bytes")
        root, prefix = (top, "") if not kinds else (top / "memory", "memory.")
        inner = root / name.lstrip("/")
        for folder in (inner, *inner.parents):
            if not folder.is_relative_to(root) or not (folder / (prefix + limit)).is_file():
                continue
            most = (folder / (prefix + limit)).read_text().strip()
            left += [int(most) - int((folder / (prefix + used)).read_text())] if most != "max" else []
    return left


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception of torch or Python means that memory ran out."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in MESSAGES)
