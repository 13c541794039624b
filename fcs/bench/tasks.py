"""What a task is for each model: its config, its sets of records, and whether there is a truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import fcs
from fcs.core.errors import UsageError

SAMPLES = Path(fcs.__file__).parent / "samples"
DIGITS = ("digits-16", "digits-16-flow")
SUFFIX = {  # of the shards' names, by task: SET.tar, SET-box.tar; a style is a whole picture, without mask
    "inpaint-half": "",
    "inpaint-box": "-box",
    "inpaint-freeform": "-freeform",
    "superres4": "",
    "superres8": "",
    "style": "-plain",
}
SETS = ("seen", "unseen", "tune")
DATA = {"digits": Path("runs/digits/shards"), "emoji": Path("runs/emoji/data/shards")}
MAKERS = {
    "digits": "python jobs/build_digits.py --full runs/digits/shards",
    "emoji": "python jobs/build_emoji.py --out runs/emoji/data",  # of an earlier folder: with --only plain
}
CONFIGS = {
    "digits": {
        "inpaint-half": "digits_half",
        "inpaint-box": "digits_half",
        "inpaint-freeform": "digits_half",
        "superres4": "digits_superres",
    },
    "emoji": {
        "inpaint-half": "emoji_half",
        "inpaint-box": "emoji_box",
        "inpaint-freeform": "emoji_freeform",
        "superres4": "emoji_superres4",
        "superres8": "emoji_superres8",
        "style": "emoji_style",
    },
    "sd15": {
        "inpaint-half": "sd15_half",
        "inpaint-box": "sd15_box",
        "inpaint-freeform": "sd15_freeform",
        "superres4": "sd15_superres4",
        "superres8": "sd15_superres8",
        "style": "sd15_style",
    },
}


@dataclass(frozen=True)
class Setup:
    """A task on a set of records.

    Attributes:
        model: model.name.
        task: one of ``SUFFIX``.
        family: whose data and configs: ``digits``, ``emoji``, or ``sd15`` for any other model.
        config: the shipped config.
        shards: the set's records.
    """

    model: str
    task: str
    family: str
    config: str
    shards: Path

    @property
    def overrides(self) -> tuple[str, ...]:
        """What the config is told of model and records."""
        return (f"model.name={self.model}", f"data.shards={self.shards}", "previews.max=0")

    @property
    def truth(self) -> bool:
        """Whether a record's picture is what should come out."""
        return self.task != "style"

    @property
    def prompted(self) -> bool:
        """Whether the task means nothing without the records' prompts."""
        return self.task == "style"

    @property
    def large(self) -> bool:
        """Whether its published step sizes are superresolution's: small and all alike."""
        return self.task.startswith("superres")


def setup(model: str, task: str, which: str, data: Path | None = None) -> Setup:
    """The task on one of the model's sets.

    Args:
        model: model.name; one that is not embedded takes the configs of Stable Diffusion 1.5.
        task: one of ``SUFFIX``.
        which: one of ``SETS``.
        data: folder with the sets' shards; needed for a model that is not embedded.

    Raises:
        UsageError: a task that the model has not, records that are not there.
    """
    family = "digits" if model in DIGITS else "emoji" if model == "emoji-64" else "sd15"
    configs = CONFIGS[family]
    if task not in configs:
        raise UsageError.of("--task", task, f"a task of {model}: {', '.join(configs)}")
    if data is None and family not in DATA:
        raise UsageError.of("--data", "", f"a folder with {', '.join(f'{name}.tar' for name in SETS)} for {model}")
    shards = (data or DATA[family]) / f"{which}{SUFFIX[task]}.tar"
    if (family, shards.name, data) == ("digits", "unseen.tar", None):
        shards = SAMPLES / "digits" / "half.tar"  # the same records; a record's noise depends on its shard's name
    if not shards.exists():
        makes = f" ({MAKERS[family]} makes it)" if family in MAKERS and which in sets(family) else ""
        raise UsageError.of("--data", shards, f"the records of {which} for {task}{makes}")
    return Setup(model, task, family, configs[task], shards)


def sets(family: str) -> tuple[str, ...]:
    """The sets that a family's data has; all digits that a model saw are its training digits."""
    return ("unseen", "tune") if family == "digits" else SETS
