"""The settings of a comparison's rows as configs that fcs-predict takes, with what they scored."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fcs.bench.comparison import Candidate, Comparison
from fcs.bench.rows import Row
from fcs.bench.tasks import Setup
from fcs.bench.trial import SETTINGS
from fcs.core.package_files import CONFIGS
from fcs.engine.config import load_config

WIDTH = 118  # of the header's lines, without their mark


def write_config(
    comparison: Comparison, candidate: Candidate, row: Row, report: Mapping[str, Any], folder: Path
) -> None:
    """The task's config with the method's sampler and levels, its scores in the header.

    Args:
        comparison: what it ran on.
        candidate: a method with levels and a tuned setting.
        row: its cost and scores.
        report: its evaluation, which says when and on what that was.
        folder: for ``CONFIG_METHOD.yaml``.
    """
    settings = comparison.trial(candidate).loaded[1]
    name = f"{comparison.setup.config}_{candidate.method.name.replace('-', '_')}"
    write_preset(folder / f"{name}.yaml", comparison.setup, settings, header(comparison, row, report))


def write_preset(path: Path, setup: Setup, settings: Mapping[str, Any], said: tuple[str, str]) -> None:
    """The task's config with what a trial set: sampler and levels, and what else of SETTINGS differs from the config.

    Args:
        path: of the config; its folder is made.
        setup: model and task.
        settings: of the trial, resolved.
        said: for the header: what it is, in a line, and what it scored.
    """
    base = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{setup.config}.yaml"), resolve=False)
    assert isinstance(base, dict)
    plain = load_config.load([setup.config], [])[1]
    judged = {key: short(settings[key]) for key in SETTINGS}
    if "degrade" in judged["task"]:  # whose records are true pictures, which a user's may be or not
        judged["task"]["degrade"] = plain["task"]["init_args"]["degrade"]
    asked = {key: value for key, value in judged.items() if value != short(plain[key])}
    named = {**base["model"], "name": setup.model}  # models share a family's configs
    chosen = OmegaConf.create({**base, "model": named, **asked})
    first, text = said
    lines = (first, "", *textwrap.wrap(text, WIDTH))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"# {line}".rstrip() + "\n" for line in lines) + OmegaConf.to_yaml(chosen))


def short(value: Any) -> Any:
    """A section that chooses a class with its arguments beside ``class_path``, as a person writes it."""
    if not isinstance(value, Mapping) or "class_path" not in value:
        return value
    arguments = value.get("init_args") or {}
    return {"class_path": value["class_path"], **{key: short(inner) for key, inner in arguments.items()}}


def header(comparison: Comparison, row: Row, report: Mapping[str, Any]) -> tuple[str, str]:
    """What it is; how it was tuned and what it scored."""
    tried, seeds = len(comparison.trials[row["method"]]), len(comparison.seeds)
    cost = f"{row['calls']} calls" + (f" and {row['backwards']} backwards" if row["backwards"] else "")
    energy = "{energy:.3g} ({energy_low:.3g} to {energy_high:.3g})".format(**row)
    prompts = "given" if comparison.captions else "empty"
    text = (
        f"The best of {tried} trials on training data, fcs-bench tune. Scored on {row['records']} records of "
        f"{', '.join(report['shards'])} x {seeds} seeds, prompts {prompts}: energy score {energy} "
        f"({report['date']}, {report['hardware']}, fcs-bench compare)."
    )
    return f"{row['method']} on {comparison.setup.model}, {comparison.setup.task}: {cost} a record.", text
