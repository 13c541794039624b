"""What flows through a run: Records are read, collated into a Batch, and sampled into a Result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from fcs.core.boxes import Box
from fcs.core.native_picture import NativePicture
from fcs.core.transfer import to_device


@dataclass(frozen=True)
class Record:
    """One input record, decoded and validated, or the reason why it could not be.

    Attributes:
        index: position in its shard, counted from 0; broken records count too.
        key: name in the shard; None for what cannot be named (the torn end of a shard).
        image: ``(C, H, W)`` uint8, or None where the record failed.
        mask: ``(1, H, W)`` uint8, 255 = generate, 0 = keep; None where the record has none.
        prompt: text of the record, or None where it has none.
        extra: the record's own JSON, handed through.
        seed: the record's own seed, or None.
        error: ``code: detail`` where the record failed, else None.
        members: raw input members by suffix, kept only for ``copy_inputs``.
        notes: codes of ``fcs.core.notes``: what was read, but perhaps not as it was meant.
        measurement: float32, of any shape, where that is given instead of a picture; ``image`` is black then.
        size: ``(height, width)`` of its picture as decoded; None where it has none.
        part: what the result shows of that picture; None for all.
        area: where ``image`` is the record's own; None for all of it, the rest mirrors it.
        native: where the picture is completed at its own size, crop by crop; a sample's ``image`` and ``mask`` are a
            crop's then, and a record's own are None.
        crop: which of ``native``'s crops a sample is.
    """

    index: int
    key: str | None
    image: Tensor | None = None
    mask: Tensor | None = None
    prompt: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    error: str | None = None
    members: dict[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    measurement: Tensor | None = None
    size: tuple[int, int] | None = None
    part: Box | None = None
    area: Box | None = None
    native: NativePicture | None = None
    crop: int = 0

    def failed(self, code: str, detail: str) -> Record:
        """The same record as a named failure, without its pictures."""
        return Record(self.index, self.key, None, None, self.prompt, self.extra, self.seed, f"{code}: {detail}")

    @property
    def crops(self) -> tuple[Box, ...] | None:
        """The parts of its picture that a model saw; None where that is all of it."""
        if self.native is not None:
            return tuple(crop.frame for crop in self.native.crops)
        return None if self.part is None else (self.part,)

    @property
    def samples(self) -> tuple[Record, ...]:
        """What is sampled of it: itself, or one sample for each of its crops; none where these are none."""
        if self.native is None:
            return (self,)
        crops = enumerate(self.native.crops)
        return tuple(replace(self, image=crop.image, mask=crop.mask, crop=number) for number, crop in crops)


@dataclass(frozen=True)
class ReadBatch:
    """The records of a batch as they were read.

    Attributes:
        shard: STEM of the shard that all come from; empty in a batch without records.
        number: which batch of the shard.
        records: slot by slot; None for padding.
    """

    shard: str
    number: int
    records: tuple[Record | None, ...]


@dataclass(frozen=True)
class Batch:
    """A fixed number of slots; slot i holds ``records[i]`` or is padding.

    A failed record, or one that is already done, leaves a padded slot: the batch's shape never varies.

    Attributes:
        shard: STEM of the shard that all records come from.
        number: which batch of the shard; its slots are records ``number * B`` to ``number * B + B - 1``, unless
            ``members`` says otherwise.
        records: each gets a row in the metrics, failed ones too; None for padding.
        images: ``(B, C, H, W)`` uint8; zeros in padded slots.
        masks: ``(B, 1, H, W)`` uint8, 255 = generate; white in padded slots and where a record has no mask.
        prompts: one per slot.
        seeds: one per slot; each fixes all noise of its record. A failed record has one too, 0 only without a key.
        members: where the slots are samples of several batches: how many records each of these has, by number.
        host: the same batch on the CPU, where this one was moved from there.
    """

    shard: str
    number: int
    records: tuple[Record | None, ...]
    images: Tensor
    masks: Tensor
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    members: dict[int, int] = field(default_factory=dict)
    host: Batch | None = None

    @property
    def on_host(self) -> Batch:
        """The batch on the CPU; nothing is copied where it was there before."""
        return self.to("cpu") if self.host is None else self.host

    @property
    def valid(self) -> tuple[bool, ...]:
        """True for each slot that holds a record to sample."""
        return tuple(record is not None and record.error is None for record in self.records)

    def part(self, first: int, stop: int) -> Batch:
        """Slots ``first`` to before ``stop`` as a smaller batch."""
        slots = slice(first, stop)
        return replace(
            self,
            records=self.records[slots],
            images=self.images[slots],
            masks=self.masks[slots],
            prompts=self.prompts[slots],
            seeds=self.seeds[slots],
            host=None if self.host is None else self.host.part(first, stop),
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its pictures on ``device``."""
        images, masks = to_device(self.images, device), to_device(self.masks, device)
        host = None if images.device.type == "cpu" else self.host
        if images.device.type != "cpu" and self.images.device.type == "cpu":
            host = self
        return replace(self, images=images, masks=masks, host=host)


@dataclass(frozen=True)
class Result:
    """The result of sampling a batch, slot by slot.

    Attributes:
        images: ``(B, C, H, W)`` uint8 pictures to be written, on the CPU.
        residuals: rms of the constraint's error in its own space, before paste-back.
        calls: denoiser calls until each record's own stop.
        finite: False where x_0 holds NaN or infinity.
        seconds: each record's share of the batch's sampling time.
        further: uint8 ``(B, C, H, W)`` pictures besides the images, on the CPU, each written as ``KEY.NAME.png``.
        scores: one dictionary per slot with the scores that the task itself computes (``scored``); empty without any.
        errors: ``code: detail`` by slot, of records that the task found wrong.
        residual_traces: the residuals at the levels, noisiest first, slot by slot; empty where they were not recorded.
        memory: most bytes that were held until the batch was sampled, on a GPU since it was begun; None where that was
            not measured.
        redone: slots that overflowed in 16 bits and were sampled again in float32.
        truncated: slots whose prompt is longer than the model's text encoder takes.
    """

    images: Tensor
    residuals: tuple[float, ...]
    calls: tuple[int, ...]
    finite: tuple[bool, ...]
    seconds: float = 0.0
    further: dict[str, Tensor] = field(default_factory=dict)
    scores: tuple[dict[str, float | None], ...] = ()
    errors: dict[int, str] = field(default_factory=dict)
    residual_traces: tuple[tuple[float, ...], ...] = ()
    memory: int | None = None
    redone: tuple[int, ...] = ()
    truncated: tuple[int, ...] = ()
