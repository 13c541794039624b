"""What a task is for each model: the shipped config to start from, the records, and whether there is a truth."""

from __future__ import annotations

from dataclasses import dataclass

from fcs.core.errors import UsageError
from fcs.core.package_files import CONFIGS, PACKAGE

TASKS = (
    *("inpaint", "inpaint-half", "inpaint-box", "inpaint-freeform", "inpaint-random", "inpaint-outpaint"),
    *("superres", "superres2", "superres4", "superres8", "blur", "motion", "colorize", "style"),
)
GENERAL = "sd15"  # family of configs for a model that is not embedded


@dataclass(frozen=True)
class Setup:
    """A task on a set of records.

    Attributes:
        model: model.name.
        task: one of ``TASKS``.
        config: the shipped config.
        data: the records' shards, a glob; None for those that the config names.
    """

    model: str
    task: str
    config: str
    data: str | None = None

    @property
    def overrides(self) -> tuple[str, ...]:
        """What the config is told of model and records; methods of a model that is not embedded meet in float32."""
        precision = ("trainer.precision=32",) if self.config.startswith(f"{GENERAL}_") else ()
        shards = () if self.data is None else (f"data.shards={self.data}",)
        scale = self.task.removeprefix("superres")
        scales = (f"task.scale={scale}",) if self.superres and scale else ()
        restored = self.truth and not self.inpaints  # the records hold the truth, not a measurement
        degraded = ("task.degrade=true",) if restored else ()
        return (f"model.name={self.model}", *shards, *scales, *degraded, *precision, "previews.max=0")

    @property
    def truth(self) -> bool:
        """Whether a record's picture is what should come out."""
        return self.task != "style"

    @property
    def inpaints(self) -> bool:
        """Whether pixels are known and others hidden."""
        return inpaints(self.task)

    @property
    def prompted(self) -> bool:
        """Whether the task means nothing without the records' prompts."""
        return self.task == "style"

    @property
    def superres(self) -> bool:
        """Whether its published step sizes are superresolution's: small and all alike."""
        return self.task.startswith("superres")


def inpaints(task: str) -> bool:
    """Whether pixels are known and others hidden in one of ``TASKS``."""
    return task.startswith("inpaint")


def setup(model: str, task: str, data: str | None = None) -> Setup:
    """The task on a model's own records, or on the shards of ``data``.

    Args:
        model: model.name; one that is not embedded takes the configs of Stable Diffusion 1.5.
        task: one of ``TASKS``.
        data: glob of shards, with masks where the task needs them; for a model that is not embedded, or a task whose
            records do not ship, it must be given.

    Raises:
        UsageError: a model that is none, a task that it has not, records that do not ship.
    """
    embedded = (PACKAGE / "weights" / model / "card.json").is_file()
    if not embedded and "/" not in model:  # a name that is mistyped, or a folder; a hub's is looked up by the runs
        from fcs.models.loading import find  # with torch, which the command's help does without

        find(model)
    family = model.partition("-")[0] if embedded else GENERAL
    found = {name: config for name in TASKS if (config := config_for(family, name)) is not None}
    if task not in found:
        raise UsageError.of("--task", task, f"a task of {model}: {', '.join(found)}", found)
    made = Setup(model, task, found[task], data)
    if data is None and (not embedded or (task.startswith("inpaint-") and made.config.endswith("_inpaint"))):
        raise UsageError.of("--data", "", f"shards with records for {task} with {model}; none ship")
    return made


def config_for(family: str, task: str) -> str | None:
    """The family's config for a task, or else the one for all masks or scales; None where it has neither."""
    kind, _, mask = task.partition("-")
    names = (f"{family}_{mask or kind}", f"{family}_{kind.rstrip('248')}")
    return next((name for name in names if (CONFIGS / f"{name}.yaml").is_file()), None)
