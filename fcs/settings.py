"""Plain settings of a run: what a configuration may say besides model, task and sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt


@dataclass(frozen=True)
class Data:
    """Where records come from.

    Args:
        shards: input shards: a glob, a brace pattern or a list of them; paths or fsspec URLs.
        batch_size: records sampled at once on each device.
        limit: only the first so many records of the whole run.
        max_failed: stop when more records than this have failed; by default only when a process's first 50 all do.
        retry_failed: compute the failed records of an earlier run again.
        prompt: text for records that have none.
        captions: give each record's own prompt to the model; false gives ``prompt`` to all.
        resize: pictures of another size than the model's: ``none`` fails them, ``crop`` scales the short side and
            crops the centre, ``pad`` scales the long side and pads.
        workers: threads that read and decode ahead; 0 reads between batches.
    """

    shards: str | list[str]
    batch_size: PositiveInt = 16
    limit: PositiveInt | None = None
    max_failed: NonNegativeInt | None = None
    retry_failed: bool = False
    prompt: str = ""
    captions: bool = True
    resize: Literal["none", "crop", "pad"] = "none"
    workers: NonNegativeInt = 2


@dataclass(frozen=True)
class ModelName:
    """Which pretrained model.

    Args:
        name: an embedded model, a diffusers folder, a .safetensors checkpoint or a hub name with a /.
        revision: commit, branch or tag of a hub name.
    """

    name: str
    revision: str | None = None


@dataclass(frozen=True)
class Trainer:
    """How the run uses the machine.

    Args:
        devices: how many devices of this machine; ``auto`` is all GPUs, or one CPU process.
        precision: arithmetic of the network: 32, 16 (fp16) or bf16; everything around it stays in float32.
        compile: compile the network; by default on a GPU only.
        deterministic: only kernels that give the same bits each time (GPUs; a CPU's always do).
        grace: seconds that a signal leaves the current batch to end before it is cut.
    """

    devices: PositiveInt | Literal["auto"] = "auto"
    precision: Literal["32", "16", "bf16"] = "32"
    compile: bool | None = None
    deterministic: bool = False
    grace: PositiveFloat = 20.0


@dataclass(frozen=True)
class Previews:
    """Contact sheets of inputs and results.

    Args:
        max: at most so many over the run; 0 for none.
    """

    max: NonNegativeInt = 100
