"""What a card does, in the minutes there are: the parts in order of worth, each written as soon as it is measured."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fcs.bench import gpu_checks, gpu_speed
from fcs.bench.gpu_table import table
from fcs.bench.options import one
from fcs.bench.origin import origin, write_json
from fcs.core.errors import UsageError, first_line

Rows = Iterator[dict[str, Any]]
SMALLEST_MATRIX = 256


@dataclass(frozen=True)
class Part:
    """Something to be measured.

    Attributes:
        name: in tables.
        seconds: that it takes at most on a card like an A100, so that it is not begun too late.
        rows: measures, row by row.
    """

    name: str
    seconds: float
    rows: Callable[[], Rows]


@dataclass(frozen=True)
class Extent:
    """How large everything is.

    Attributes:
        sizes: of the models: one for most parts, two larger ones.
        batch: slots.
        calls: a picture; the first is the one that most parts take.
        pixels: of the host's pictures.
        records: of a shipped model, and of the host.
        steps: levels of a shipped model's pictures.
    """

    sizes: tuple[str, str, str]
    batch: int
    calls: list[int]
    pixels: int
    records: int
    steps: int


FULL = Extent(("sd15-512", "sd15-1024", "sdxl-1024"), 16, [40, 220, 20, 100], 512, 16, 20)
TINY = Extent(("tiny-64",) * 3, 1, [5], 64, 2, 1)


def plan(device: torch.device, rate: float, work: Path, scale: Extent) -> list[Part]:
    """All parts, the most worth knowing first.

    Args:
        device: what is measured.
        rate: its operations a second in products of bf16 matrices.
        work: folder for what is needed meanwhile.
        scale: how large everything is; on a CPU only so large that the command is tried.
    """
    main, large, larger = scale.sizes
    batch, calls, few = scale.batch, scale.calls[0], max(scale.batch // 4, 1)
    speed, checks = gpu_speed, gpu_checks

    def shipped() -> Rows:
        for name in checks.SHIPPED:
            yield from checks.against_the_cpu(name, device, scale.records, scale.steps)

    def larger_models() -> Rows:
        for size in (large, larger):
            yield from speed.by_calls(size, device, rate, [calls, scale.calls[-1]], few)

    # What these need beyond torch and diffusers may not be there.
    def ceiling() -> Rows:
        from fcs.bench import gpu_host

        yield from gpu_host.ceiling(work, device, scale.pixels, scale.records)

    def everything() -> Rows:
        from fcs.bench import gpu_host

        yield from gpu_host.everything(work, main, device, calls, batch)

    return [
        Part("speed", 100, lambda: speed.by_calls(main, device, rate, scale.calls, batch)),
        Part("results against the CPU's", 60, shipped),
        Part("cosines of J e", 20, lambda: checks.cosines(device, few)),
        Part("types", 30, lambda: speed.by_arithmetic(main, device, calls, batch)),
        Part("decoding at once", 15, lambda: checks.together(main, device, 2 * batch)),
        Part("deterministic kernels", 20, lambda: checks.again(device, few)),
        Part("host", 20, ceiling),
        Part("everything on", 40, everything),
        Part("larger models", 90, larger_models),
        Part("compiled", 120, lambda: speed.compiled(main, device, calls, batch)),
    ]


def chosen(name: str) -> torch.device:
    """The device that ``--device`` names.

    Raises:
        UsageError: no such device, or no GPU that torch can use.
    """
    if name not in ("cuda", "cpu"):
        raise UsageError.of("--device", name, "cuda or cpu", ("cuda", "cpu"))
    if name == "cuda" and not torch.cuda.is_available():
        built = f"torch {torch.__version__} finds none"
        raise UsageError.of("--device", name, f"a GPU; {built}. --device=cpu tries the command at tiny sizes")
    return torch.device(name)


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Measure what the minutes allow; the same command again measures what is left.

    Raises:
        UsageError: an option that does not fit.
    """
    for word in overrides:
        raise UsageError(f"{word}: expected nothing more; --help explains")
    device, ends = chosen(args.device), time.monotonic() + 60 * one(args.minutes, "--minutes")
    out = Path(args.out)
    facts = {**origin(), "torch": torch.__version__}
    found = _before(out, facts)
    found["facts"] |= {"matmul_tflops": _matmul(device)}
    rate = 1e12 * found["facts"]["matmul_tflops"]
    with tempfile.TemporaryDirectory(prefix="fcs-bench-gpu-") as work:
        for part in plan(device, rate, Path(work), FULL if device.type == "cuda" else TINY):
            if found["parts"].get(part.name, {}).get("done"):
                continue
            left = ends - time.monotonic()
            found["parts"][part.name] = _measured(part, found, out) if left >= part.seconds else _left(part, left)
            _write(found, out)
    print(table(found))


def _matmul(device: torch.device) -> float:
    side = gpu_speed.SIDE if device.type == "cuda" else SMALLEST_MATRIX
    return gpu_speed.matmul(device, side) / 1e12


def _before(out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """What an earlier call has measured on the same card with the same torch; another's is moved aside."""
    from fcs.shards.store.local import LocalStore

    known = LocalStore(out).json("gpu.json") if (out / "gpu.json").exists() else None
    same = known is not None and all(known["facts"][name] == facts[name] for name in ("hardware", "torch"))
    if known is not None and not same:
        shutil.move(out / "gpu.json", out / f"gpu-{known['facts']['date']}.json")
    return {"facts": facts, "parts": known["parts"] if known is not None and same else {}}


def _measured(part: Part, found: dict[str, Any], out: Path) -> dict[str, Any]:
    """A part's rows; what fails is said, and the other parts go on."""
    made: dict[str, Any] = {"rows": [], "done": False}
    found["parts"][part.name] = made
    try:
        for row in part.rows():
            made["rows"].append(row)
            _write(found, out)
        made["done"] = True
    except (ImportError, MemoryError, RuntimeError, UsageError) as error:
        made["note"] = f"{type(error).__name__}: {first_line(error)}"
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return made


def _left(part: Part, left: float) -> dict[str, Any]:
    return {"rows": [], "done": False, "note": f"not begun: {left:.0f} s left of {part.seconds:.0f} s needed"}


def _write(found: dict[str, Any], out: Path) -> None:
    write_json(out / "gpu.json", found)
    (out / "gpu.md").write_text(table(found))
