"""What the Python calls give back: sampled records as pictures, with numbers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from PIL import Image
from torch import Tensor

from fcs.core.collate import collate
from fcs.core.errors import UsageError
from fcs.core.images import to_pil
from fcs.core.native_picture import Blend
from fcs.core.notes import NOTHING
from fcs.core.records import Record
from fcs.engine.encode_results import NOT_FINITE, own_part, picture_scores
from fcs.engine.native_results import Crops, MadeCrop, joined_row
from fcs.engine.python_arguments import one_of
from fcs.engine.python_sampling import sample_batch
from fcs.metrics.native_scores import native_scores
from fcs.models import Model
from fcs.shards.input.decode import Format
from fcs.tasks.base import Task
from fcs.tasks.pipeline import Pipeline
from fcs.tasks.residual_trace import Preview

Resize: TypeAlias = Literal["none", "crop", "pad", "crop_to_mask"]
Metrics: TypeAlias = dict[str, float | None]
log = logging.getLogger("fcs")
CROPS = 16  # that are sampled at once if nothing else is said: how many there will be, nobody who calls can know


@dataclass(frozen=True)
class Pictures:
    """What a call made.

    Attributes:
        images: one picture an input and prompt, in order, as ``output_type`` says.
        metrics: per picture: seed, nfe, residual, and the scores that make sense for the task (None where one
            does not exist); of a model with prompts ``truncated``, whether its text encoder took less than all,
            of a task with masks ``nothing_to_generate``, whether the mask is black, and with ``crop_to_mask``
            ``crops``, how many there were.
        further: what else a task makes, by name, like ``images``: ``layer1``, ``layer2`` and ``mask`` of layers.
    """

    images: Any
    metrics: list[Metrics]
    further: dict[str, Any] = field(default_factory=dict)


def record_form(model: Model, task: Task, resize: str) -> Format:
    """What pictures must look like.

    Raises:
        UsageError: another word for ``resize``, or crops of a task that does not work on them.
    """
    way: Resize = one_of("resize", resize, Resize)
    crops = task.on_crops if way == "crop_to_mask" else None
    if way == "crop_to_mask" and crops is None:
        name = type(task).__name__.lower()
        raise UsageError.of("resize", way, f"none, crop or pad for task={name}; only inpaint with paste works on crops")
    return Format(*task.input_shape(model), way, task.needs_mask, margin=crops.margin if crops else 0.0)


def sampled(
    pipeline: Pipeline,
    records: Sequence[Record],
    form: Format,
    most: int | None,
    progress: bool,
    preview: Preview | None,
) -> Pictures:
    """Sample records.

    Args:
        pipeline: with the task of whole records.
        records: one or more, each with a seed.
        form: that they have.
        most: samples at once; all, or up to ``CROPS`` of larger pictures, if None.
        progress: whether there is a bar.
        preview: told of x_0 at each level.

    Raises:
        ValueError: a record that the task refuses.
    """
    return (_native if form.native else _whole)(pipeline, records, form, most, progress, preview)


def _whole(
    pipeline: Pipeline,
    records: Sequence[Record],
    form: Format,
    most: int | None,
    progress: bool,
    preview: Preview | None,
) -> Pictures:
    task, count = pipeline.task, len(records)
    batch = collate("", 0, records, (form.channels, form.height, form.width), 0)
    result = sample_batch(pipeline, batch, min(most or count, count), progress, preview)
    for slot, error in result.errors.items():
        raise ValueError(f"image {slot}: {error}")
    _say_broken([not whole for whole in result.finite])
    common = picture_scores(task, batch, result.images)
    rows = zip(batch.seeds, result.calls, result.residuals, common, result.scores or ({},) * count, strict=True)
    metrics: list[Metrics] = [{"seed": s, "nfe": n, "residual": r, **a, **b} for s, n, r, a, b in rows]
    for slot, row in enumerate(metrics):
        row |= {"truncated": slot in result.truncated} if pipeline.model.prompted else {}
        row |= {NOTHING: not batch.masks[slot].any()} if task.needs_mask else {}

    def shown(pictures: Tensor) -> list[Image.Image]:
        return [to_pil(own_part(task, batch, slot, pictures)[slot]) for slot in range(count)]

    return Pictures(shown(result.images), metrics, {name: shown(made) for name, made in result.further.items()})


def _native(
    pipeline: Pipeline,
    records: Sequence[Record],
    form: Format,
    most: int | None,
    progress: bool,
    preview: Preview | None,
) -> Pictures:
    samples = [sample for record in records for sample in record.samples or (record,)]
    batch = collate("", 0, samples, (form.channels, form.height, form.width), 0)
    way = pipeline.task.on_crops
    assert way is not None, "the form of the records says so"
    result = sample_batch(replace(pipeline, task=way.task), batch, min(most or CROPS, len(samples)), progress, preview)
    scored = pipeline.task.reference(batch) is not None
    crops, images, metrics, broken = Crops(), [], [], []
    for slot, sample in enumerate(samples):
        made = crops.add(batch, result, slot)
        if made is not None:
            image, row = _joined(way.blend, sample, made, scored)
            images.append(image)
            broken.append(any(crop.error for crop in made))
            metrics.append(row if pipeline.model.prompted else {k: v for k, v in row.items() if k != "truncated"})
    _say_broken(broken)
    return Pictures(images, metrics)


def _say_broken(broken: Sequence[bool]) -> None:
    """Warn of what a run would have failed: as bytes, NaN is a picture like any other."""
    if any(broken):
        log.warning("%d of %d images: %s; what is generated there means nothing", sum(broken), len(broken), NOT_FINITE)


def _joined(blend: Blend, record: Record, made: Sequence[MadeCrop], scored: bool) -> tuple[Image.Image, Metrics]:
    """A record's whole picture, and what is known of it."""
    row, native = joined_row(record, made), record.native
    assert native is not None
    completed = native.completed(native.read(), [crop.picture for crop in made[: len(native.crops)]], blend)
    scores = native_scores(completed.picture, completed, native, exact=True, scored=scored)
    own: Metrics = {"seed": row.seed, "nfe": row.nfe, "residual": row.residual, **scores}
    own |= {"truncated": row.truncated, NOTHING: row.nothing_to_generate, "crops": len(native.crops)}
    return completed.picture, own
