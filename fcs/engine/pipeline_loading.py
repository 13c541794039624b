"""From files to what computes: the model with task and sampler, the networks of the metrics."""

from __future__ import annotations

import logging

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from fcs.core.autocast import AUTOCAST
from fcs.core.collate import collate
from fcs.core.errors import StorageError
from fcs.core.mask_edits import MaskEdits
from fcs.engine.config.run import Run
from fcs.engine.early_checks import check_guidance
from fcs.engine.lay_batches import Layout
from fcs.engine.preflight import Preflight
from fcs.engine.process_info import ProcessInfo
from fcs.engine.record_sizes import LONGEST, bucket_models, crops_of, sampled_task
from fcs.engine.setting_warnings import warn
from fcs.metrics.judge import Judge
from fcs.models import Model, load
from fcs.models.base import TRUNCATED
from fcs.shards.input.decode import Format
from fcs.shards.input.mask_source import mask_source
from fcs.shards.ledger.layout import DIFFERENCE
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.base import Store
from fcs.tasks.pipeline import Pipeline

log = logging.getLogger("fcs")


def load_pipeline(run: Preflight) -> Pipeline:
    """The loaded model with task and sampler, on the CPU, checked to fit together.

    Raises:
        UsageError: steps, levels, guidance, or a scale that the model does not have.
    """
    config = run.config
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()  # one bar for each part of a model says less than our own
    model = load(run.found, AUTOCAST[config.trainer.precision], config.model.options)
    model.spare(config.trainer.slicing, config.model.tiling)
    if config.model.overlap is not None:
        model.use_windows(config.model.overlap)
    model.schedule.levels(config.steps, config.levels)
    config.task.check_fit(model.picture_shape, model.prompted)
    config.task.input_shape(model)
    if config.data.resize == "bucket":
        bucket_models(model, config.task)
    config.task.prepare(model)
    check_guidance(config, model.prompted)
    if ProcessInfo.here().speaks:  # once for all that were started together
        _warn(config, model)
    guidance = (config.guidance, config.negative_prompt, config.guidance_stop)
    return Pipeline(model, sampled_task(config), config.sampler, config.steps, config.levels, *guidance)


def _warn(config: Run, model: Model) -> None:
    warn(config)
    for key, prompt in (("data.prompt", config.data.prompt), ("negative_prompt", config.negative_prompt)):
        if model.truncates(prompt):
            log.warning(TRUNCATED, key)


def load_judge(run: Preflight, model: Model) -> Judge | None:
    """The loaded networks of the metrics, on the CPU; None where none was asked for.

    Raises:
        UsageError: weights that do not load, or do not fit the model's pictures.
    """
    wanted = run.config.metrics
    if not wanted.scores and not wanted.features:
        return None
    return Judge(wanted.scores, wanted.features, run.networks, model.picture_shape)


def measured(out: Store, pipeline: Pipeline, device: torch.device) -> Pipeline:
    """The pipeline with the perturbations that ``out`` holds; measured first if 16 bits need them and there are none.

    They are measured where the run computes: another device rounds otherwise.

    Raises:
        StorageError: OUT cannot be read or written.
    """
    if pipeline.automatic is None:
        return pipeline
    known = out.json(DIFFERENCE)
    if known is None:
        pipeline.model.to(device)
        if not pipeline.unmeasured:
            return pipeline
        out.create(DIFFERENCE, to_json({str(t): length for t, length in pipeline.lengths().items()}))
        known = out.json(DIFFERENCE)
    if known is None:
        raise StorageError(f"{out.where(DIFFERENCE)}: expected what was measured, found nothing or something else")
    return pipeline.measured({float(t): float(length) for t, length in known.items()})


def record_format(config: Run, model: Model) -> Format:
    """What a record's members must look like."""
    channels, height, width = config.task.input_shape(model)
    data, task = config.data, config.task
    options = (task.needs_mask, config.copy_inputs, data.captions, task.reads_mask, task.measurement_shape(model))
    edits = MaskEdits(config.mask.invert, config.mask.grow, config.mask.feather)
    masks = (mask_source(data.mask), edits)
    crops = crops_of(config)
    sizes = (tuple(bucket_models(model, task)) if data.resize == "bucket" else (), crops.margin if crops else 0.0)
    common = (channels, height, width, data.resize, *options, data.keys, *masks, *sizes, LONGEST.get(config.format))
    return Format(*common, wants_prompt=model.prompted and data.captions and not data.prompt)


def layout_of(config: Run, form: Format, slots: int) -> Layout:
    """How the records of a run become batches of so many slots."""
    shape = (form.channels, form.height, form.width)
    grouped = config.data.resize in ("bucket", "crop_to_mask")
    return Layout(slots, shape, config.seed, config.data.prompt, grouped)


def has_reference(pipeline: Pipeline) -> bool:
    """Whether the task has something to score its results against."""
    blank = collate("", 0, [None], pipeline.task.input_shape(pipeline.model), 0)
    return pipeline.task.reference(blank) is not None
