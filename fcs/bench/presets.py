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
from fcs.core.package_files import CONFIGS

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
    section = candidate.method.section(candidate.setting, comparison.latent)
    assert candidate.levels is not None
    name = f"{comparison.setup.config}_{candidate.method.name.replace('-', '_')}"
    write_preset(folder / f"{name}.yaml", comparison.setup, section, candidate.levels, header(comparison, row, report))


def write_preset(path: Path, setup: Setup, sampler: Mapping[str, Any], levels: int, said: tuple[str, str]) -> None:
    """The task's config with a sampler and a number of levels.

    Args:
        path: of the config; its folder is made.
        setup: model and task.
        sampler: its section.
        levels: ``steps``.
        said: for the header: what it is, in a line, and what it scored.
    """
    base = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{setup.config}.yaml"), resolve=False)
    assert isinstance(base, dict)
    named = {**base["model"], "name": setup.model}  # models share a family's configs
    chosen = OmegaConf.create({**base, "model": named, "sampler": dict(sampler), "steps": levels})
    first, text = said
    lines = (first, "", *textwrap.wrap(text, WIDTH))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"# {line}".rstrip() + "\n" for line in lines) + OmegaConf.to_yaml(chosen))


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
