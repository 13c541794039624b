"""Methods on the same records and seeds: with how many levels and which settings each takes part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fcs.bench.methods import Method, Setting
from fcs.bench.options import refuse_lost
from fcs.bench.tasks import Setup
from fcs.bench.trial import Trial
from fcs.core.errors import UsageError
from fcs.models import Model, find, load
from fcs.models.inpainting import StableDiffusionInpaint

TRIALS = "trials.json"


@dataclass(frozen=True)
class Candidate:
    """A method as it takes part.

    Attributes:
        method: which.
        budget: calls that it may cost, a backward counted as two; None for its published levels.
        levels: as many as the budget buys; None where it cannot take part.
        setting: published or tuned.
        notes: what a reader of its row must know.
    """

    method: Method
    budget: int | None
    levels: int | None
    setting: Setting
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What all methods have in common.

    Attributes:
        setup: model, task and records.
        seeds: one run each.
        out: folder.
        overrides: of every config.
        captions: give the records' prompts to the model.
        tuned: folder that ``fcs-bench tune`` wrote, or None for published settings.
        inpaint_model: model.name of one trained for inpainting, None for none.
        reference: glob of shards that KID and FID are taken against, None for none.
    """

    setup: Setup
    seeds: tuple[int, ...]
    out: Path
    overrides: tuple[str, ...] = ()
    captions: bool = False
    tuned: Path | None = None
    inpaint_model: str | None = None
    reference: str | None = None

    @cached_property
    def model(self) -> Model:
        """The model itself, for what methods must know of it."""
        return load(find(self.setup.model))

    @property
    def latent(self) -> bool:
        """Whether it works on latents, where some methods have another name."""
        return self.model.factor > 1

    @cached_property
    def inpainting(self) -> Model:
        """The model that was trained for inpainting.

        Raises:
            UsageError: it is none, or of other pictures.
        """
        found, shape = load(find(str(self.inpaint_model))), self.model.picture_shape
        if not isinstance(found, StableDiffusionInpaint) or found.picture_shape != shape:
            expected = f"a model trained for inpainting of {shape[2]}x{shape[1]} pixels"
            raise UsageError.of("--inpaint-model", self.inpaint_model, expected)
        return found

    @cached_property
    def trials(self) -> dict[str, list[dict[str, Any]]]:
        """All trials of each tuned method, each with the budget and the model that it had.

        Raises:
            UsageError: trials of another task.
        """
        if self.tuned is None:
            return {}
        path = self.tuned / TRIALS
        if not path.exists():
            raise UsageError.of("--tuned", self.tuned, f"a folder with {TRIALS}, that fcs-bench tune wrote")
        found = json.loads(path.read_text())
        if found["task"] != self.setup.task:
            raise UsageError.of("--tuned", self.tuned, f"trials of {self.setup.task}, these are of {found['task']}")
        where = {"budget": found["calls"], "model": found["model"]}
        return {name: [{**one, **where} for one in tried] for name, tried in found["methods"].items()}

    @cached_property
    def chosen(self) -> dict[str, dict[str, Any]]:
        """The best trial of each tuned method."""
        return {name: one for name, tried in self.trials.items() for one in tried if one["chosen"]}

    def trial(self, candidate: Candidate, folder: str = "") -> Trial:
        """Its runs, in a folder of its method's and budget's name unless another is given.

        Raises:
            UsageError: an override of what the method sets itself.
        """
        name = folder or f"{candidate.method.name}-{named(candidate.budget)}"
        own = (*candidate.method.overrides(candidate.setting, self.latent), f"steps={candidate.levels or 1}")
        if candidate.method.inpainting_model and self.inpaint_model is not None:
            own = (*own, f"model.name={self.inpaint_model}")
        refuse_lost(self.overrides, own, candidate.method.name)
        defaults = candidate.method.own_defaults(self.latent)
        given = (*self.setup.overrides, *defaults, *self.overrides, *own)
        captions = self.captions or self.setup.prompted
        return Trial(self.setup.config, given, self.seeds, self.out / name, captions, self.setup.truth)

    def candidate(self, method: Method, budget: int | None) -> Candidate:
        """A method with its published number of levels, or as many as the budget buys."""
        tuned = self.chosen.get(method.name)

        def setting(levels: int) -> Setting:
            return method.published(levels, self.setup.superres) if tuned is None else dict(tuned["setting"])

        levels = method.levels if budget is None else method.levels_for(budget, setting)
        made = Candidate(method, budget, levels, setting(levels or 1))
        reason: str | None = "needs a model trained for inpainting (--inpaint-model)"
        if not method.inpainting_model or self.inpaint_model is not None:
            model = self.inpainting if method.inpainting_model else self.model
            reason = method.unfit(model, self.trial(made).loaded[0].task)
        if reason is not None:
            return Candidate(method, budget, None, {}, (reason,))
        if levels is None:
            reason = f"one level costs {method.cost(made.setting, 1)} calls"
            return Candidate(method, budget, None, {}, (reason,))
        return Candidate(method, budget, levels, made.setting, self._notes(method, tuned, budget))

    def _notes(self, method: Method, tuned: dict[str, Any] | None, budget: int | None) -> tuple[str, ...]:
        notes = []
        if tuned is None and method.space:
            notes.append("not tuned: published settings")
        elif tuned is not None and tuned["budget"] != named(budget):
            notes.append(f"tuned at {tuned['budget']} calls")
        if tuned is not None and tuned["model"] != self.setup.model:
            notes.append(f"tuned on {tuned['model']}")
        if method.name == "exact":
            notes.append("counts J as one backward, it takes one an entry")
        return tuple(notes)


def named(budget: int | None) -> int | str:
    """A budget as commands and files say it."""
    return "published" if budget is None else budget
