"""The description of a run: its fields are the keys of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveInt

from fcs.core.levels import Spacing
from fcs.engine.config.settings import Data, Mask, Metrics, ModelName, PngLevel, Previews, Trainer
from fcs.samplers.base import Sampler
from fcs.tasks.base import Task


@dataclass(frozen=True)
class Run:
    """What one run does; ``fcs-predict`` builds it from a configuration.

    Args:
        data: where records come from.
        model: which pretrained model.
        task: what is wanted of each record.
        sampler: how it is reached.
        out: folder for the results; ``runs/CONFIG`` if left out, by the last configuration's name.
        seed: fixes, with shard and key, each record's noise.
        steps: noise levels at which the network is asked.
        levels: spacing of the levels: ``even``, or the ``paper``'s.
        guidance: diffusers' guidance_scale; 1 is none.
        negative_prompt: prompt of guidance's other branch.
        guidance_stop: share of the levels that are guided, the noisiest first; above a guidance of 5 less than .5
            keeps the constraint met.
        format: of the written pictures.
        png_level: how hard PNG compresses, 0 to 9; by default 6, and by runs alone for pictures of 65,536 pixels or
            more: photographs as small, in a quarter of the time.
        copy_inputs: also write each record's input members.
        mask: what is done to masks.
        trainer: how the run uses the machine.
        previews: contact sheets.
        metrics: what results are judged by.
    """

    data: Data
    model: ModelName
    task: Task
    sampler: Sampler
    out: str
    seed: NonNegativeInt = 0
    steps: PositiveInt = 20
    levels: Spacing = "even"
    guidance: NonNegativeFloat = 1.0
    negative_prompt: str = ""
    guidance_stop: ClosedUnitInterval = 1.0
    format: Literal["png", "jpg", "webp"] = "png"
    png_level: PngLevel | None = None
    copy_inputs: bool = False
    mask: Mask = field(default_factory=Mask)
    trainer: Trainer = field(default_factory=Trainer)
    previews: Previews = field(default_factory=Previews)
    metrics: Metrics = field(default_factory=Metrics)
