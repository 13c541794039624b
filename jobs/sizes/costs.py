"""What completing a picture at its own size costs, part by part, by the number of its crops and by its area."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcs.core.collate import collate
from fcs.core.records import Record
from fcs.engine.encode_results import encode_image
from fcs.engine.python_sampling import sample_batch
from fcs.metrics.native_scores import native_scores
from fcs.models import Model
from fcs.samplers import DDIM
from fcs.shards.input.decode import Format
from fcs.shards.input.decode_image import decode_image, decode_mask
from fcs.shards.input.record_pictures import with_pictures
from fcs.tasks.inpaint import Inpaint
from fcs.tasks.pipeline import Pipeline

HOLE = 24  # pixels along a hole
FAR = 160  # pixels between two holes, at least
MARGIN = 0.25
Measured = dict[str, Any]


@dataclass
class Seconds:
    """CPU seconds, user and system, by part."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Count what is done inside as a part's."""
        began = time.process_time()
        yield
        self.spent[part] = self.spent.get(part, 0.0) + time.process_time() - began


def cost(model: Model, folder: Path, megapixels: float, crops: int, steps: int, repeats: int) -> Measured:
    """CPU seconds by part, and the growth of peak memory, of one picture with so many crops.

    Each repeat is a process of its own; of each part, and of the memory, the least of all repeats counts: what other
    programs do can only add to it.

    Args:
        model: in memory; its sampling is by DDIM, so that a crop is ``steps`` network calls.
        folder: for the picture.
        megapixels: of the picture, 4:3.
        crops: holes, far from each other.
        steps: levels.
        repeats: of the measurement.
    """
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    image, mask = (path.read_bytes() for path in _write(folder, width, round(width * 3 / 4), crops))
    pipeline = Pipeline(model, Inpaint(), DDIM(), steps)
    files, whole = (
        _least([apart(work) for _ in range(repeats)])
        for work in (partial(_decode_and_encode, image, mask), partial(_complete, pipeline, image, mask))
    )
    return {
        "megapixels": megapixels,
        "crops": crops,
        "repeats": repeats,
        "cpu_seconds": whole["cpu_seconds"],
        "memory_mb": whole["memory_mb"],
        "memory_mb_of_decoding_and_encoding": files["memory_mb"],
    }


def apart(work: Callable[[], dict[str, float]]) -> Measured:
    """Run something in a forked process: the CPU seconds that it tells, and how much more memory than at its start."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # else the most that the parent ever held would count
            before = _peak()
            told = {"cpu_seconds": work(), "memory_mb": (_peak() - before) / 1e6}
            os.write(writing, json.dumps(told).encode())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise RuntimeError(f"a process that was to be measured ended with {code}")
    return json.loads(said)


def _least(repeats: list[Measured]) -> Measured:
    parts = repeats[0]["cpu_seconds"]
    seconds = {part: min(one["cpu_seconds"][part] for one in repeats) for part in parts}
    return {"cpu_seconds": seconds, "memory_mb": min(one["memory_mb"] for one in repeats)}


def _complete(pipeline: Pipeline, image: bytes, mask: bytes) -> dict[str, float]:
    """What a run does with a record: reading, sampling, writing."""
    seconds, model = Seconds(), pipeline.model
    channels, height, width = model.picture_shape
    form = Format(channels, height, width, "crop_to_mask", True, margin=MARGIN)

    def read() -> Image.Image:
        with seconds.of("decode"):
            return decode_image(image, "RGB")[0]

    picture = read()
    with seconds.of("decode"):
        greys = decode_mask(mask)[0]
    with seconds.of("crop_search"):
        record = with_pictures(Record(0, "a", seed=0), picture, greys, read, form)
    del picture, greys
    native = record.native
    assert native is not None
    batch = collate("", 0, record.samples, (channels, height, width), 0)
    crops = pipeline.task.on_crops
    assert crops is not None
    sampling = replace(pipeline, task=crops.task)
    sample_batch(sampling, batch, len(batch.records), progress=False)  # the first call has more to do than others
    with seconds.of("sample"):
        result = sample_batch(sampling, batch, len(batch.records), progress=False)
    given = native.read()
    with seconds.of("paste_and_blend"):
        completed = native.completed(given, list(result.images), crops.blend)
    with seconds.of("score"):
        native_scores(completed.picture, completed, native, exact=True, scored=True)
    with seconds.of("encode"):
        encode_image(completed.picture, "png")
    return seconds.spent


def _decode_and_encode(image: bytes, mask: bytes) -> dict[str, float]:
    seconds = Seconds()
    with seconds.of("all"):
        picture = decode_image(image, "RGB")[0]
        decode_mask(mask)
        encode_image(picture, "png")
    return seconds.spent


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
