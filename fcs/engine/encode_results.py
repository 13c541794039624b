"""From results to rows: pictures are encoded, scored as a reader will see them, and described."""

from __future__ import annotations

import io
import json
from collections import ChainMap
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcs.core.images import to_pil
from fcs.core.notes import notes_for
from fcs.core.records import Batch, Record, Result
from fcs.metrics import image_scores as metrics
from fcs.metrics.judge import Features, Judge, JudgedPictures, Scores
from fcs.shards.ledger.result_rows import Row
from fcs.tasks.base import Task

QUALITY = 95  # of jpg and webp
LARGE = 65_536  # pixels from which PNG compresses fast rather than hard


@dataclass(frozen=True)
class ResultEncoder:
    """Turns a batch's result into one row for each record.

    Attributes:
        task: has the reference that a result is scored against.
        format: ``png``, ``jpg`` or ``webp``.
        png_level: how hard PNG compresses, 0 to 9; None for 6, and 1 for large pictures.
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

    def rows(self, batch: Batch, result: Result | None) -> list[Row]:
        """One row for each record of the batch, failed ones too; ``result`` is None if all failed."""
        records = [(slot, record) for slot, record in enumerate(batch.records) if record is not None]
        if result is None:
            return [_failed(batch, slot, record, record.error) for slot, record in records]
        encoded = self._encode(batch, result)
        written = result.images if self.format == "png" else _decoded(result.images, encoded)
        scores, features = self._judged(batch, result, written)
        rows = []
        for slot, record in records:
            if record.error is not None:
                rows.append(_failed(batch, slot, record, record.error))
            elif slot in result.errors:
                rows.append(_failed(batch, slot, record, result.errors[slot]))
            elif not result.finite[slot]:
                rows.append(_failed(batch, slot, record, "not_finite: the model gave NaN or infinity"))
            else:
                row = self._row(batch, result, slot, record, encoded[slot], scores[slot])
                rows.append(replace(row, features=features[slot]))
        return rows

    def _judged(self, batch: Batch, result: Result, written: Tensor) -> tuple[list[Scores], list[Features]]:
        """Scores and features of each slot."""
        reference = self.task.reference(batch)
        masks = batch.masks.cpu() if self.task.needs_mask else None
        kinds = [metrics.scores(written, None if reference is None else reference.cpu(), masks)]
        features: list[Features] = [{} for _ in kinds[0]]
        if self.judge is not None:
            styles = self.task.styles(batch)
            further, features = self.judge(JudgedPictures(written, reference, batch.prompts, styles, batch.masks))
            kinds.append(further)
        kinds += [list(result.scores)] if result.scores else []
        scores = [dict(ChainMap(*reversed(slot))) for slot in zip(*kinds, strict=True)]
        return scores, features

    def _encode(self, batch: Batch, result: Result) -> dict[int, bytes]:
        pictures = {slot: result.images[slot] for slot, valid in enumerate(batch.valid) if valid}
        return {slot: encode(picture, self.format, self.png_level) for slot, picture in pictures.items()}

    def _row(
        self,
        batch: Batch,
        result: Result,
        slot: int,
        record: Record,
        picture: bytes,
        scores: dict[str, float | None],
    ) -> Row:
        own = {"seed": batch.seeds[slot], "nfe": result.calls[slot], "residual": result.residuals[slot]}
        facts = {"fcs": {**own, "scores": scores, **self.facts}, "input": record.extra}
        # A lone surrogate in the record's own JSON goes out as it came in: that is its escape in JSON too.
        text = json.dumps(facts, sort_keys=True, ensure_ascii=False).encode(errors="backslashreplace")
        members = [(f"{record.key}.{self.format}", picture), (f"{record.key}.json", text)]
        further = {name: encode(made[slot], "png", self.png_level) for name, made in result.further.items()}
        members += [(f"{record.key}.{name}.png", data) for name, data in further.items()]
        if self.copy_inputs:
            members += [(f"{record.key}.input.{suffix}", data) for suffix, data in sorted(record.members.items())]
        return Row(
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
            notes=notes_for(record.notes, self.task.needs_mask),
            scores=scores,
            members=tuple(members),
        )


def _failed(batch: Batch, slot: int, record: Record, error: str | None) -> Row:
    """Its seed stands in the row too: a column of whole numbers with gaps is one of rounded floats to pandas."""
    return Row(record.index, record.key, error, seed=batch.seeds[slot])


def _is_black(mask: Tensor | None) -> bool:
    return mask is not None and not mask.any()


def encode(picture: Tensor, form: str, png_level: int | None = None) -> bytes:
    """A file of one ``(C, H, W)`` uint8 picture."""
    image = to_pil(picture)
    buffer = io.BytesIO()
    if form == "png":
        usual = 1 if image.width * image.height >= LARGE else 6
        image.save(buffer, "png", compress_level=usual if png_level is None else png_level)
    else:
        image.save(buffer, "jpeg" if form == "jpg" else form, quality=QUALITY)
    return buffer.getvalue()


def _decoded(images: Tensor, encoded: dict[int, bytes]) -> Tensor:
    """The pictures as a reader will see them after a lossy format."""
    seen = images.clone()
    for slot, data in encoded.items():
        mode = "L" if images.shape[1] == 1 else "RGB"
        array = np.array(Image.open(io.BytesIO(data)).convert(mode))
        seen[slot] = torch.from_numpy(array).reshape(*images.shape[2:], -1).permute(2, 0, 1)
    return seen
