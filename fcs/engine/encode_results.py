"""From results to rows: pictures are encoded, scored as a reader will see them, and described."""

from __future__ import annotations

import io
import json
import zlib
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from fcs.core.images import to_pil
from fcs.core.memory import is_out_of_memory
from fcs.core.notes import notes_for
from fcs.core.records import Batch, Record, Result
from fcs.core.transfer import beside
from fcs.metrics import image_scores as metrics
from fcs.metrics.judge import Features, Judge, JudgedPictures, Scores
from fcs.shards.input.decode_image import to_tensor
from fcs.shards.ledger.result_rows import Row
from fcs.tasks.base import Task

QUALITY = 95  # of jpg and webp
CPU = torch.device("cpu")
NOT_FINITE = "not_finite: the model gave NaN or infinity"
LARGE = 65_536  # pixels from which PNG compresses fast rather than hard
LARGE_PNG = {"compress_level": 1, "compress_type": zlib.Z_RLE}


@dataclass(frozen=True)
class ResultEncoder:
    """Turns a batch's result into one row for each record.

    Attributes:
        task: has the reference that a result is scored against.
        format: ``png``, ``jpg`` or ``webp``.
        png_level: how hard PNG compresses, 0 to 9; None for 6, and runs alone for large pictures.
        device: where scores are computed.
        copy_inputs: whether input members are written too.
        facts: of the run, written into every KEY.json: model, fingerprint.
        judge: computes the scores and features that need networks; None where none was asked for.
    """

    task: Task
    format: str
    copy_inputs: bool
    facts: dict[str, Any]
    judge: Judge | None = None
    png_level: int | None = None
    device: torch.device = CPU

    def rows(self, batch: Batch, result: Result | None) -> list[Row]:
        """One row for each record of the batch, failed ones too; ``result`` is None if all failed.

        Args:
            batch: on the CPU.
            result: its pictures.
        """
        with beside(self.device):
            return self._rows(batch, result)

    def _rows(self, batch: Batch, result: Result | None) -> list[Row]:
        records = [(slot, record) for slot, record in enumerate(batch.records) if record is not None]
        if result is None:
            return [failed_row(batch, slot, record, record.error) for slot, record in records]
        pictures = {slot: own_part(self.task, batch, slot, result.images)[slot] for slot in _valid(batch)}
        encoded = {slot: encode(picture, self.format, self.png_level) for slot, picture in pictures.items()}
        written = pictures if self.format == "png" else _decoded(encoded, result)
        scores, features = self._judged(batch, result, written)
        rows = []
        for slot, record in records:
            error = record.error or result.errors.get(slot)
            if error is None and not result.finite[slot]:
                error = NOT_FINITE
            if error is not None:
                rows.append(failed_row(batch, slot, record, error))
            else:
                row = self._row(batch, result, slot, record, encoded[slot], scores[slot])
                rows.append(replace(row, features=features[slot]))
        return rows

    def _judged(
        self, batch: Batch, result: Result, written: Mapping[int, Tensor]
    ) -> tuple[list[Scores], list[Features]]:
        """Scores and features of each slot."""
        seen = result.images.clone()
        for slot, picture in written.items():
            own_part(self.task, batch, slot, seen)[slot] = picture
        kinds = [picture_scores(self.task, batch, seen, self.device)]
        features: list[Features] = [{} for _ in kinds[0]]
        if self.judge is not None:
            reference, styles = self.task.reference(batch), self.task.styles(batch)
            further, features = self.judge(JudgedPictures(seen, reference, batch.prompts, styles, batch.masks))
            kinds.append(further)
        kinds += [list(result.scores)] if result.scores else []
        scores = [dict(ChainMap(*reversed(slot))) for slot in zip(*kinds, strict=True)]
        return scores, features

    def _row(
        self,
        batch: Batch,
        result: Result,
        slot: int,
        record: Record,
        picture: bytes,
        scores: dict[str, float | None],
    ) -> Row:
        further = {name: own_part(self.task, batch, slot, made)[slot] for name, made in result.further.items()}
        row = Row(
            record.index,
            record.key,
            seed=batch.seeds[slot],
            nfe=result.calls[slot],
            seconds=result.seconds,
            residual=result.residuals[slot],
            memory=result.memory,
            course=result.residual_traces[slot] if result.residual_traces else (),
            redone=slot in result.redone,
            truncated=slot in result.truncated,
            nothing_to_generate=_is_black(record.mask) if self.task.needs_mask else None,
        )
        return self.described(row, record, picture, scores, batch.prompts[slot], further)

    def described(
        self,
        row: Row,
        record: Record,
        picture: bytes,
        scores: Scores,
        prompt: str,
        further: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Row:
        """A row with what is written of its record: the picture, KEY.json, what else there is."""
        own: dict[str, Any] = {"seed": row.seed, "nfe": row.nfe, "residual": row.residual}
        size, crops = record.size, record.crops
        own |= {"size": list(size)} if size else {}
        own |= {"crops": [list(box) for box in crops]} if crops is not None else {}
        own |= {"prompt": prompt} if prompt else {}
        facts = {"fcs": {**own, "scores": scores, **self.facts}, "input": record.extra}
        # A lone surrogate in the record's own JSON goes out as it came in: that is its escape in JSON too.
        text = json.dumps(facts, sort_keys=True, ensure_ascii=False).encode(errors="backslashreplace")
        members = [(f"{record.key}.{self.format}", picture), (f"{record.key}.json", text)]
        members += [(f"{record.key}.{name}.png", encode(made, "png", self.png_level)) for name, made in further.items()]
        if self.copy_inputs:
            members += [(f"{record.key}.input.{suffix}", data) for suffix, data in sorted(record.members.items())]
        notes = notes_for(record.notes, self.task.needs_mask)
        return replace(row, size=size, crops=crops, notes=notes, scores=scores, members=tuple(members))


def own_part(task: Task, batch: Batch, slot: int, pictures: Tensor) -> Tensor:
    """The part of pictures ``(N, C, H, W)``, results or masks, that is a record's own: where its input has no bars."""
    record = batch.records[slot]
    if record is None or record.area is None or not task.in_place:
        return pictures
    rows, columns = record.area.scaled(pictures.shape[-1] // batch.images.shape[-1]).slices
    return pictures[..., rows, columns]


def picture_scores(task: Task, batch: Batch, pictures: Tensor, device: torch.device = CPU) -> list[Scores]:
    """Scores of uint8 pictures ``(N, C, H, W)`` that need no network, each of its record's own part.

    Args:
        task: what was made.
        batch: of it, on the CPU like the pictures.
        pictures: as written.
        device: where scores are computed, unless memory runs out there.
    """
    reference, masks = task.reference(batch), batch.masks if task.needs_mask else None
    found = _plain_scores(device, pictures, reference, masks)
    for slot in _valid(batch):
        own = [None if kind is None else own_part(task, batch, slot, kind) for kind in (pictures, reference, masks)]
        if own[0] is not pictures:
            made, *others = (None if kind is None else kind[[slot]] for kind in own)
            assert made is not None
            (found[slot],) = _plain_scores(device, made, *others)
    return found


def _valid(batch: Batch) -> list[int]:
    return [slot for slot, counts in enumerate(batch.valid) if counts]


def failed_row(batch: Batch, slot: int, record: Record, error: str | None) -> Row:
    """Its seed stands in the row too: a column of whole numbers with gaps is one of rounded floats to pandas."""
    return Row(record.index, record.key, error, seed=batch.seeds[slot])


def _decoded(encoded: Mapping[int, bytes], result: Result) -> dict[int, Tensor]:
    mode = "L" if result.images.shape[1] == 1 else "RGB"
    return {slot: to_tensor(decoded(data, mode)) for slot, data in encoded.items()}


def _is_black(mask: Tensor | None) -> bool:
    return mask is not None and not mask.any()


def encode(picture: Tensor, form: str, png_level: int | None = None) -> bytes:
    """A file of one ``(C, H, W)`` uint8 picture."""
    return encode_image(to_pil(picture), form, png_level)


def encode_image(image: Image.Image, form: str, png_level: int | None = None) -> bytes:
    """A file of one picture."""
    buffer = io.BytesIO()
    if form == "png":
        image.save(buffer, "png", **_png_options(image, png_level))
    else:
        image.save(buffer, "jpeg" if form == "jpg" else form, quality=QUALITY)
    return buffer.getvalue()


def _png_options(image: Image.Image, level: int | None) -> dict[str, int]:
    """How zlib compresses; by default large pictures by runs, which is faster than level 1 and takes less space."""
    if level is not None:
        return {"compress_level": level}
    return LARGE_PNG if image.width * image.height >= LARGE else {"compress_level": 6}


def decoded(data: bytes, mode: str) -> Image.Image:
    """A picture as a reader will see it after a lossy format."""
    return Image.open(io.BytesIO(data)).convert(mode)


def _plain_scores(
    device: torch.device, pictures: Tensor, reference: Tensor | None, masks: Tensor | None
) -> list[Scores]:
    try:
        moved = [None if one is None else one.to(device) for one in (reference, masks)]
        return metrics.scores(pictures.to(device), *moved)
    except (MemoryError, RuntimeError) as error:
        if device.type == "cpu" or not is_out_of_memory(error):
            raise
    return metrics.scores(pictures, reference, masks)
