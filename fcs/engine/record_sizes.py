"""What ``data.resize`` asks of task, model and metrics: which tasks work on crops, which sizes a model has."""

from __future__ import annotations

import math

from fcs.core.errors import UsageError
from fcs.engine.config.run import Run
from fcs.models import Model
from fcs.tasks.base import OnCrops, Task

LONGEST = {"jpg": 65_500, "webp": 16_383}  # pixels a side that these formats hold
RATIOS = (1.0, 4 / 3, 3 / 2, 16 / 9)  # of the longer side to the shorter; upright and wide


def check_sizes(config: Run) -> None:
    """Refuse a ``data.resize`` that the task, or what is measured, cannot do, and results that no file can hold.

    Raises:
        UsageError: it cannot.
    """
    resize, task, longest = config.data.resize, config.task, LONGEST.get(config.format)
    if longest is not None and config.model.size is not None and max(config.model.size) > longest:
        raise UsageError.of("format", config.format, f"png for pictures of more than {longest} pixels a side")
    if resize == "crop_to_mask":
        _check_crops(config)
    if resize == "bucket" and (not task.in_place or getattr(task, "measurement", "picture") != "picture"):
        raise UsageError.of("data.resize", resize, f"none, crop or pad for {_name(task)}, whose results have one size")


def _check_crops(config: Run) -> None:
    key, task = "data.resize", config.task
    if getattr(task, "paste", True) is False and type(task).on_crops is not Task.on_crops:
        raise UsageError.of("task.paste", "false", "true with data.resize=crop_to_mask, which keeps all but the hole")
    if task.on_crops is None:
        raise UsageError.of(key, "crop_to_mask", f"none, crop or pad for {_name(task)}; only inpaint works on crops")
    if config.metrics.networks:
        names = ", ".join([*config.metrics.scores, *config.metrics.features])
        expected = "none with data.resize=crop_to_mask: its results have any size, and networks have theirs"
        raise UsageError.of("metrics", names, expected)


def crops_of(config: Run) -> OnCrops | None:
    """How the run's pictures are completed crop by crop; None where they are not."""
    return config.task.on_crops if config.data.resize == "crop_to_mask" else None


def sampled_task(config: Run) -> Task:
    """The task of what is sampled: of a crop, or of the record itself."""
    crops = crops_of(config)
    return crops.task if crops else config.task


def bucket_models(model: Model, task: Task) -> dict[tuple[int, int], Model]:
    """The model at sizes of about its own area, a few shapes, upright and wide, by the size of a record's picture.

    Raises:
        UsageError: a model that makes pictures of one size only, a task that does not fit one of the sizes.
    """
    if model.step is None:
        raise UsageError.of("data.resize", "bucket", "none, crop or pad for a model that makes pictures of one size")
    found = {}
    for height, width in _sizes(model.picture_shape[1], model.picture_shape[2], model.step):
        at = model.at(height, width)
        task.check_fit(at.picture_shape, at.prompted)
        found[task.input_shape(at)[1:]] = at
    return found


def _sizes(height: int, width: int, step: int) -> list[tuple[int, int]]:
    """(height, width) of each shape, the model's own first."""
    found = [(height, width)]
    for ratio in RATIOS:
        short = math.sqrt(height * width / ratio)
        sides = _multiple(short, step), _multiple(short * ratio, step)
        found += [sides, sides[::-1]]
    return list(dict.fromkeys(found))


def _multiple(length: float, step: int) -> int:
    return max(1, round(length / step)) * step


def _name(task: Task) -> str:
    return f"task={type(task).__name__.lower()}"
