"""What completing a picture at its own size costs, by the number of its crops and by its area."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import fcs
from fcs.core.masks import read_mask
from fcs.core.pictures import open_picture, read_picture
from fcs.models import Model

HOLE = 24  # pixels along a hole
FAR = 160  # pixels between two holes, at least


def cost(model: Model, folder: Path, megapixels: float, crops: int, steps: int) -> dict[str, float]:
    """CPU seconds and the growth of peak memory, in a process of its own, of one picture with so many crops.

    Args:
        model: in memory; its sampling is by DDIM, so that a crop is ``steps`` network calls.
        folder: for the picture.
        megapixels: of the picture, 4:3.
        crops: holes, far from each other.
        steps: levels.
    """
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    image, mask = _write(folder, width, round(width * 3 / 4), crops)
    files = apart(lambda: _decode_and_encode(image, mask, folder))
    whole = apart(lambda: _complete(model, image, mask, folder, steps))
    return {
        "megapixels": megapixels,
        "crops": crops,
        "cpu_seconds": whole["cpu_seconds"],
        "cpu_seconds_of_decoding_and_encoding": files["cpu_seconds"],
        "memory_mb": whole["memory_mb"],
        "memory_mb_of_decoding_and_encoding": files["memory_mb"],
    }


def apart(work: Callable[[], None]) -> dict[str, float]:
    """Run something in a forked process; its CPU seconds, and by how much its memory was larger than at its start."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # else the most that the parent ever held would count
            before, began = _peak(), resource.getrusage(resource.RUSAGE_SELF)
            work()
            used = resource.getrusage(resource.RUSAGE_SELF)
            seconds = used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime
            os.write(writing, json.dumps({"cpu_seconds": seconds, "memory_mb": (_peak() - before) / 1e6}).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        told = file.read()
    os.waitpid(pid, 0)
    found: dict[str, float] = json.loads(told)
    return found


def _complete(model: Model, image: Path, mask: Path, folder: Path, steps: int) -> None:
    made = fcs.inpaint(model, image, mask, steps=steps, sampler="ddim", resize="crop_to_mask", progress=False)
    made.images[0].save(folder / "made.png", compress_level=1)


def _decode_and_encode(image: Path, mask: Path, folder: Path) -> None:
    picture, _ = read_picture(open_picture(image.read_bytes()), "RGB")
    read_mask(open_picture(mask.read_bytes()))
    picture.save(folder / "made.png", compress_level=1)


def _write(folder: Path, width: int, height: int, holes: int) -> tuple[Path, Path]:
    """A picture of smooth noise, and a mask with so many squares far apart."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (height // 16, width // 16, 3)).astype(np.uint8)
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(folder / "image.jpg", quality=90)
    mask = np.zeros((height, width), np.uint8)
    columns = max(1, (width - FAR) // (HOLE + FAR))
    for number in range(holes):
        top, left = ((HOLE + FAR) * place + FAR // 2 for place in divmod(number, columns))
        mask[top : top + HOLE, left : left + HOLE] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return folder / "image.jpg", folder / "mask.png"


def _peak() -> float:
    """Bytes: the most memory that this process has held."""
    status = Path("/proc/self/status").read_text()
    return 1024 * float(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
