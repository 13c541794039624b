"""The settings of a comparison's rows as configs that fcs-predict takes, with what they scored."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fcs.bench.comparison import Candidate, Comparison
from fcs.bench.rows import Row
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
    base = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{comparison.setup.config}.yaml"), resolve=False)
    assert isinstance(base, dict)
    method = candidate.method
    chosen = {
        **base,
        "model": {**base["model"], "name": comparison.setup.model},  # models share a family's configs
        "sampler": method.section(candidate.setting, comparison.latent),
        "steps": candidate.levels,
    }
    name = f"{comparison.setup.config}_{method.name.replace('-', '_')}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(header(comparison, row, report) + OmegaConf.to_yaml(OmegaConf.create(chosen)))


def header(comparison: Comparison, row: Row, report: Mapping[str, Any]) -> str:
    """What it is, how it was tuned, what it scored, as comments."""
    tried, seeds = len(comparison.trials[row["method"]]), len(comparison.seeds)
    cost = f"{row['calls']} calls" + (f" and {row['backwards']} backwards" if row["backwards"] else "")
    energy = "{energy:.3g} ({energy_low:.3g} to {energy_high:.3g})".format(**row)
    prompts = "given" if comparison.captions else "empty"
    text = (
        f"The best of {tried} trials on training data, fcs-bench tune. Scored on {row['records']} records of "
        f"{', '.join(report['shards'])} x {seeds} seeds, prompts {prompts}: energy score {energy} "
        f"({report['date']}, {report['hardware']}, fcs-bench compare)."
    )
    first = f"{row['method']} on {comparison.setup.model}, {comparison.setup.task}: {cost} a record."
    return "".join(f"# {line}".rstrip() + "\n" for line in (first, "", *textwrap.wrap(text, WIDTH)))
