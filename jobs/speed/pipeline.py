"""``fcs-predict`` itself on records made for it, its start-up apart."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image
from webdataset import TarWriter

from fcs.core.records import Batch
from fcs.core.tf32 import tf32
from fcs.lightning import PredictModule, is_empty
from fcs.models import find
from fcs.tools.cli.predict import main
from speed.timing import Spent

# Levels and step sizes of so many calls: levels x (1 + 2 K).
WALKS = {
    220: (20, [0.5, 0.4, 0.3, 0.2, 0.1]),
    60: (20, [0.5]),
    40: (8, [0.5, 0.1]),
    6: (2, [0.5]),  # to try the job itself
}
FEW = 20  # calls of the shipped preset, Newton-Krylov at half as many levels


@dataclass(frozen=True)
class Setting:
    """How records are sampled.

    Attributes:
        model: ``model.name``.
        batch: slots.
        precision: ``trainer.precision``.
        compile: whether the network is compiled.
        work: folder for inputs and results.
        cuda_graphs: whether what is compiled is replayed as a CUDA graph.
    """

    model: str
    batch: int
    precision: str
    compile: bool
    work: Path
    cuda_graphs: bool = False

    def arguments(self, shard: Path, out: Path, calls: int) -> list[str]:
        """Of fcs-predict, for inpainting: the paper's sampler, or with ``FEW`` calls the preset's."""
        if calls == FEW:
            sampler: dict[str, Any] = {"sampler": "newtonkrylov", "steps": FEW // 2}
        else:
            steps, sizes = WALKS[calls]
            sampler = {"sampler": "newton", "sampler.step_sizes": json.dumps(sizes), "steps": steps}
        difference = "0.005" if self.precision == "32" else "auto"
        given = {
            "model.name": self.model,
            "data.shards": shard,
            "task": "inpaint",
            **sampler,
            "sampler.difference": difference,
        }
        return [*(f"{key}={value}" for key, value in given.items()), *self.common(out)]

    def common(self, out: Path) -> list[str]:
        """Arguments of fcs-predict, whatever is sampled and how."""
        given = {
            "data.batch_size": self.batch,
            "trainer.precision": self.precision,
            "trainer.compile": str(self.compile).lower(),
            "trainer.cuda_graphs": str(self.cuda_graphs).lower(),
            "previews.max": 0,
            "out": out,
        }
        return [f"{key}={value}" for key, value in given.items()]


def picture_shape(model: str) -> tuple[int, int, int]:
    """``(C, H, W)`` of the pictures that a Stable Diffusion makes, from its files."""
    folder = find(model).path
    unet, vae = (json.loads((folder / part / "config.json").read_text()) for part in ("unet", "vae"))
    side = unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1)
    return vae["in_channels"], side, side


def write_inputs(shard: Path, shape: tuple[int, int, int], count: int) -> Path:
    """A shard of smooth pictures ``(C, H, W)``, the right half to be made."""
    generator = np.random.default_rng(0)
    size, mode = (shape[2], shape[1]), "L" if shape[0] == 1 else "RGB"
    mask = Image.new("L", size)
    mask.paste(255, (size[0] // 2, 0, *size))
    shard.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(shard)) as writer:
        for number in range(count):
            coarse = generator.integers(0, 256, (8, 8, shape[0]), dtype=np.uint8)
            picture = Image.fromarray(coarse.squeeze()).convert(mode).resize(size, Image.Resampling.BICUBIC)
            writer.write({"__key__": f"{number:06d}", "png": png(picture), "mask.png": png(mask)})
    return shard


def png(picture: Image.Image) -> bytes:
    """Its file."""
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()


@contextmanager
def noted(into: list[Spent]) -> Iterator[None]:
    """Notes the clocks at the start of each batch that has records."""
    step: Callable[..., Any] = PredictModule.predict_step

    def noting(self: PredictModule, batch: Batch, *given: Any) -> Any:
        if not is_empty(batch):
            into.append(Spent(time.perf_counter(), time.process_time()))
        return step(self, batch, *given)

    with patch.object(PredictModule, "predict_step", noting):
        yield


def steady(arguments: list[str], out: Path) -> tuple[Spent, int]:
    """Seconds from the second batch's start to the end of the run, all being written, and how many batches that is.

    Raises:
        RuntimeError: the run failed.
    """
    shutil.rmtree(out, ignore_errors=True)
    starts: list[Spent] = []
    with tf32(False), noted(starts), redirect_stdout(io.StringIO()):  # a run's own choice of TF32 ends with it
        code = main(arguments)
    if code or len(starts) < 2:
        raise RuntimeError(f"fcs-predict ended with {code} after {len(starts)} batches: {' '.join(arguments)}")
    first = starts[1]
    return Spent(time.perf_counter() - first.wall, time.process_time() - first.cpu), len(starts) - 1
