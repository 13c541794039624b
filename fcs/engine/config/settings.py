"""Plain settings of a run: what a configuration may say besides model, task and sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from fcs.engine.config.logger import Logger
from fcs.models.options import Offload, Options

Precision = Literal["32", "16", "bf16"]
PngLevel = Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
Score = Literal["lpips", "clip", "style"]
Feature = Literal["clip", "dinov2", "inception", "digits", "random"]


@dataclass(frozen=True)
class Data:
    """Where records come from.

    Args:
        shards: input shards, tars or Parquet tables: a glob, a brace pattern or a list; paths or fsspec URLs.
        batch_size: records sampled at once on each device. ``auto`` is the largest power of two that fits, found by
            each process at its start: results are then the same byte for byte only where that is the same number.
        limit: only the first so many records of the whole run.
        max_failed: stop when more records than this have failed; by default only when a process's first 50 all do.
        retry_failed: compute the failed records of an earlier run again.
        prompt: text for records that have none.
        captions: give each record's own prompt to the model; false gives ``prompt`` to all.
        resize: pictures of another size than the model's: ``none`` fails them, ``crop`` scales the short side and
            crops the centre, ``pad`` scales the long side and mirrors what is beyond the edges (results have no bars),
            ``bucket`` takes that of a few sizes of the model's area whose shape is nearest, and crops to it;
            ``crop_to_mask`` cuts out what is to be generated with ``task.margin``, scales it to the model's size, and
            puts the result back: pictures of any size keep it.
        mask: a mask file for all records, or ``alpha``: what is transparent in a picture is generated. By default each
            record's own ``KEY.mask.png``.
        keys: where the key of a member's name ends: at its ``first_dot``, as WebDataset has it, or before its
            ``last_suffix``: ``cat.v2.png`` and ``cat.v2.mask.png`` are the record ``cat_v2``.
        workers: threads that read and decode ahead; 0 reads between batches.
    """

    shards: str | list[str]
    batch_size: PositiveInt | Literal["auto"] = 16
    limit: PositiveInt | None = None
    max_failed: NonNegativeInt | None = None
    retry_failed: bool = False
    prompt: str = ""
    captions: bool = True
    resize: Literal["none", "crop", "pad", "bucket", "crop_to_mask"] = "none"
    mask: str | None = None
    keys: Literal["first_dot", "last_suffix"] = "first_dot"
    workers: NonNegativeInt = 2


@dataclass(frozen=True)
class Mask:
    """What is done to masks before they are used.

    Args:
        invert: white keeps and black generates.
        grow: pixels, at the model's size (with ``data.resize=crop_to_mask`` at the picture's own), by which what is
            generated grows on all sides.
        feather: pixels around it, beyond ``grow``, over which generated and kept blend into each other.
    """

    invert: bool = False
    grow: NonNegativeInt = 0
    feather: NonNegativeInt = 0


@dataclass(frozen=True)
class ModelName:
    """Which pretrained model.

    Args:
        name: an embedded model, a diffusers folder (any text-to-image pipeline's), a .safetensors checkpoint or a hub
            name with a /.
        revision: commit, branch or tag of a hub name.
        variant: of the weights' files, such as ``fp16`` for ``model.fp16.safetensors``; they are computed with in
            ``trainer.precision`` all the same.
        tiling: encode and decode pictures larger than the autoencoder was trained at in overlapping tiles, for less
            memory; it changes them a little.
        size: ``[height, width]`` of pictures, where the model can make others than its own.
        overlap: with a larger ``size``, for Stable Diffusion's network: it sees windows of the size that it was trained
            at, which share at least so many pixels, and whose x_0 are averaged; by default all of a picture at once.
        arguments: what goes to a diffusers pipeline's call beside what other keys say, such as
            ``{max_sequence_length: 256}``; with them, Stable Diffusion runs through that call too.
        lora: LoRA files (.safetensors) of a pipeline, or hub names, each with ``@WEIGHT`` or without; needs peft.
        textual_inversion: files (.safetensors) of words whose embeddings were learnt, or hub names, each with ``@WORD``
            as it stands in prompts, or without: then it is the word that the file names, or else the file's name.
        offload: what of a pipeline waits in the machine's memory until a GPU needs it: ``none``, its ``text`` encoders,
            the ``model``'s parts, or ``sequential``, their layers one by one; the last two need accelerate.
    """

    name: str
    revision: str | None = None
    variant: str | None = None
    tiling: bool = False
    size: list[PositiveInt] | None = None
    overlap: PositiveInt | None = None
    arguments: dict[str, Any] | None = None
    lora: str | list[str] | None = None
    textual_inversion: str | list[str] | None = None
    offload: Offload = "none"

    @property
    def options(self) -> Options:
        """What is wanted of the model beside its files."""
        return Options(
            self.size, self.arguments or {}, _listed(self.lora), _listed(self.textual_inversion), self.offload
        )


def _listed(given: str | list[str] | None) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())


@dataclass(frozen=True)
class Trainer:
    """How the run uses the machine.

    Args:
        devices: how many devices of this machine; ``auto`` is all GPUs, or one CPU process.
        strategy: how the processes belong together: ``independent``, without a process group, so that one that is lost
            costs nothing but its own batches; or ``ddp``, Lightning's, by gloo on CPUs and nccl on GPUs.
        precision: arithmetic of the network: 32, 16 (fp16) or bf16; everything around it stays in float32.
        compile: compile the network; by default on a GPU, where there are calls enough to repay the minutes it takes.
        cuda_graphs: replay the compiled network on a GPU as one graph of kernels, which saves launching each of them:
            for small batches. Without effect where nothing is compiled or there is no GPU.
        tf32: round the factors of float32's products on a GPU to ten mantissa bits. By default with 16 bits, and there
            in encoding and decoding only; ``false`` nowhere; ``true`` in the network too, which needs
            ``sampler.difference=auto``, and has no effect where networks score the results.
        slicing: encode and decode record by record, with gradients too, for less memory; bytes may differ.
        deterministic: only kernels that give the same bits each time (GPUs; a CPU's always do).
        grace: seconds that a signal leaves the current batch to end before it is cut.
        logger: where rate, counts and running means go as the run goes on: a Lightning logger with its arguments
            (``trainer.logger=csvlogger trainer.logger.save_dir=logs``); the first process of a launch writes to it.
    """

    devices: PositiveInt | Literal["auto"] = "auto"
    strategy: Literal["independent", "ddp"] = "independent"
    precision: Precision = "32"
    compile: bool | None = None
    cuda_graphs: bool = False
    tf32: bool | None = None
    slicing: bool = False
    deterministic: bool = False
    grace: PositiveFloat = 20.0
    logger: Logger | None = None


@dataclass(frozen=True)
class Previews:
    """Contact sheets of inputs and results.

    Args:
        max: at most so many over the run; 0 for none.
    """

    max: NonNegativeInt = 100


@dataclass(frozen=True)
class Metrics:
    """What results are judged by besides PSNR, SSIM and the seam, which need no network.

    Args:
        scores: of each record: ``lpips`` to its reference, ``clip`` to its prompt, ``style`` to its style picture.
        features: kept of each result and its reference, for FID, KID and energy scores: ``clip``, ``dinov2``,
            ``inception``, ``digits`` (a classifier of 16x16 digits), ``random`` (never trained, a check on the rest).
        clip: the CLIP of scores and features: an embedded model's, a folder in transformers' format or a hub name.
        dinov2: the DINOv2 of features: a folder in transformers' format or a hub name.
        inception: torch-fidelity's file of Inception's weights; by default where torch's hub keeps it.
        lpips: torchvision's file of AlexNet's weights; by default where torch's hub keeps it.
    """

    scores: Sequence[Score] = ()
    features: Sequence[Feature] = ()
    clip: str = "emoji-64"
    dinov2: str | None = None
    inception: str | None = None
    lpips: str | None = None

    @property
    def networks(self) -> list[str]:
        """The networks that are needed, by the keys that say where their weights are."""
        scored = ["clip" if name == "style" else name for name in self.scores]
        return list(dict.fromkeys([*scored, *self.features]))
