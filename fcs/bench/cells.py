"""Settings side by side on the same records: run each, keep its row, tell them in a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcs.bench.figures import PAIRED, STYLED
from fcs.bench.options import origin
from fcs.bench.trial import FILE, Trial

FIGURES = (
    "energy_own",
    "energy_random",
    "retrieval",
    "psnr_one_seed",
    "psnr_generated_one_seed",
    "seam_one_seed",
    *STYLED,
)
PLAIN = ("records", "failed", "nfe", "seconds", "residual")
Row = dict[str, Any]


@dataclass(frozen=True)
class Series:
    """What all settings have in common.

    Attributes:
        config: name or path, as for fcs-predict.
        overrides: of the config.
        seeds: one run each.
        out: folder; each setting has its own in it.
        first: name of the setting that the others are compared with.
        truth: as in ``Trial``.
    """

    config: str
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    out: Path
    first: str
    truth: bool = True

    def report(self, name: str, overrides: Iterable[str], captions: bool = False) -> dict[str, Any]:
        """The evaluation of a setting, from its folder where it is there already; a failed run ends the job."""
        folder = self.out / name
        if not (folder / FILE).exists():
            trial = Trial(self.config, (*self.overrides, *overrides), self.seeds, folder, captions, self.truth)
            code = trial.predict()
            if code:
                sys.exit(code)
            trial.evaluate(self.out / self.first if (self.out / self.first / FILE).exists() else None)
        report: dict[str, Any] = json.loads((folder / FILE).read_text())
        return report


def row(facts: Row, report: dict[str, Any]) -> Row:
    """What is kept of an evaluation beside what the setting is."""
    versus = report.get("versus") or {}
    difference = next((versus[name] for name in PAIRED if versus.get(name)), None)
    plain = {name: report[name] for name in PLAIN}
    kept = {name: report.get(name) for name in FIGURES}
    return {**facts, **plain, **kept, "difference_to_first": difference}


def write(rows: list[Row], path: Path) -> None:
    """The rows as far as they are, with the command that makes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**origin(), "rows": rows}, indent=1) + "\n")


def table(rows: list[Row], names: Iterable[str]) -> str:
    """The rows in Markdown: what the settings are, what they cost and score; columns that no row has are left out."""
    plain = [*names, "nfe", "failed", "residual"]
    figures = [name for name in (*FIGURES, "difference_to_first") if any(one[name] for one in rows)]
    head = [*plain, *(name.replace("_", " ") for name in figures)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for one in rows:
        said = [one[name] if isinstance(one[name], str) else f"{one[name]:.4g}" for name in plain]
        lines.append("| " + " | ".join([*said, *(told(one[name]) for name in figures)]) + " |")
    return "\n".join(lines) + "\n"


def told(figure: dict[str, float] | None) -> str:
    """A mean with its interval."""
    return "" if figure is None else f"{figure['mean']:.3g} ({figure['low']:.3g} to {figure['high']:.3g})"
