"""Points x_t at which a model is analysed, with the constraint of a record there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from contact_sheets import draw
from torch import Tensor

from analysis.replayed import replayed
from fcs.core.collate import collate
from fcs.core.constraints import Constraint
from fcs.core.errors import UsageError
from fcs.core.levels import Level
from fcs.core.per_sample import RecordNoise
from fcs.core.records import Batch
from fcs.engine.config import load_config
from fcs.engine.pipeline_loading import load_pipeline, record_format
from fcs.engine.preflight import preflight
from fcs.models import Model
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.shards.input.open_shards import OpenShards
from fcs.tools.cli.ends import Parser

CONFIGS = {"digits-16": "digits_half", "digits-16-flow": "digits_half", "emoji-64": "emoji_half"}
MOST = 1000  # levels of which the nearest to a wanted t is taken


def parser_of(name: str, text: str | None) -> Parser:
    """The options that every analysis at single points has; ``text`` is the recipe's own."""
    parser = Parser(f"python jobs/{name}.py", text or "")
    parser.add_argument("--model", default="digits-16", help="model.name (%(default)s)")
    parser.add_argument("--config", help="config whose task makes the error (the model's own half-picture inpainting)")
    parser.add_argument("--levels", default="900,700,500,300", help="t, comma separated (%(default)s)")
    parser.add_argument("--records", type=int, default=4, help="drawn by seed 0 (%(default)s)")
    parser.add_argument("--float32", action="store_true", help="not in float64: for large models on a GPU")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    return parser


@dataclass(frozen=True)
class Point:
    """One x_t.

    Attributes:
        record: number of the record whose constraint it is.
        level: the noise level.
        x: ``(1, *)``, another record's picture noised to the level: a place that does not know the constraint.
        f: ``x_t -> x_0`` there.
        constraint: the record's.
    """

    record: int
    level: Level
    x: Tensor
    f: Callable[[Tensor], Tensor]
    constraint: Constraint


@dataclass(frozen=True)
class Subject:
    """A model and the records on which it is analysed.

    Attributes:
        model: its network in the type of the analysis.
        batches: a record each, pictures uint8.
        constraints: each record's, its tensors in the type of the analysis.
        dtype: of x_t.
    """

    model: Model
    batches: list[Batch]
    constraints: list[Constraint]
    dtype: torch.dtype

    def level(self, t: float) -> Level:
        """The level nearest to ``t`` in what the network is told."""
        return min(self.model.schedule.levels(MOST)[:-1], key=lambda level: abs(level.t - t))

    def denoiser(self, batch: Batch, level: Level) -> Callable[[Tensor], Tensor]:
        """``x_t -> x_0`` at a level under a record's prompt."""
        guided = self.model.guided(batch.prompts)
        if isinstance(self.model, DiffusersPipeline):
            return replayed(self.model, guided, level, self.dtype)
        if guided.cond is not None:
            guided = replace(guided, cond=guided.cond.to(self.dtype))
        return lambda x: guided(x, level)

    def noised(self, picture: Tensor, level: Level, seed: int) -> Tensor:
        """A picture ``(1, C, H, W)`` in [-1, 1], encoded and noised to a level."""
        with torch.no_grad():
            z = self.model.encode(picture.to(self.model.device, self.dtype))
        return level.alpha * z + level.sigma * RecordNoise([seed], z.device, self.dtype)(z.shape[1:])

    def points(self, ts: Sequence[float]) -> list[Point]:
        """Every record at every level."""
        found = []
        for t in ts:
            level = self.level(t)
            for number, batch in enumerate(self.batches):
                other = self.batches[(number + 1) % len(self.batches)]
                x = self.noised(other.images.to(self.dtype) / 127.5 - 1, level, number)
                f = self.denoiser(batch, level)
                found.append(Point(number, level, x, f, self.constraints[number]))
        return found


def subject(name: str, given: str | None, overrides: Sequence[str], records: int, dtype: torch.dtype) -> Subject:
    """A model with records drawn by seed 0 from a config's shards.

    Args:
        name: model.name.
        given: the config; the model's own half-picture inpainting if None.
        overrides: of the config.
        records: how many, at most as many as there are.
        dtype: float64 or float32.

    Raises:
        UsageError: no config for a model that has none of its own, and what a run's configuration may raise.
    """
    chosen = given or CONFIGS.get(name)
    if chosen is None:
        raise UsageError.of("--config", "", f"a config whose task makes constraints for {name}")
    out = "out=runs/unused-analysis"  # nothing is written there
    run, settings = load_config.load([chosen], [f"model.name={name}", *overrides, out])
    checked = preflight(run, settings)
    solver = load_pipeline(checked)
    form = record_format(run, solver.model)
    shards = OpenShards(checked.sources, form)
    shape = (form.channels, form.height, form.width)
    found = draw(shards, checked.sources, records, 0)
    batches = [collate(stem, 0, [record], shape, run.seed).to(solver.model.device) for stem, record in found]
    shards.close()
    constraints = [run.task.constraint(batch, solver.model) for batch in batches]  # tasks make them in float32
    for constraint in constraints:
        for key, value in vars(constraint).items():
            if isinstance(value, Tensor):
                setattr(constraint, key, value.to(dtype))
    solver.model.to(dtype)
    return Subject(solver.model, batches, constraints, dtype)
