"""One configuration over several seeds: run it, read it back, judge it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from fcs.bench.figures import PAIRED, STYLED, differences, interval, judge
from fcs.bench.options import origin
from fcs.bench.truth import Truth, read_columns, read_results, read_scores, read_truth
from fcs.engine.config import config
from fcs.engine.config.run import Run
from fcs.engine.preflight import record_format
from fcs.models import find, load
from fcs.shards.input.sources import resolve
from fcs.tools.cli.predict import main as fcs_predict

FILE = "evaluate.json"


@dataclass(frozen=True)
class Trial:
    """A configuration to judge.

    Attributes:
        config: name or path, as for fcs-predict.
        overrides: ``key=value``.
        seeds: one run each.
        out: folder for the runs and ``evaluate.json``.
        captions: whether the records' prompts are given to the model.
        truth: whether the records' pictures are what should come out; otherwise they are a style.
    """

    config: str
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    out: Path
    captions: bool = False
    truth: bool = True

    @property
    def settings(self) -> list[str]:
        """All overrides."""
        scores = [] if self.truth else [f"metrics.scores=[{','.join(STYLED)}]"]
        return [*scores, *self.overrides, f"data.captions={'true' if self.captions else 'false'}"]

    @cached_property
    def loaded(self) -> tuple[Run, dict[str, Any]]:
        """The run and its settings as plain data."""
        return config.load([self.config], self.settings)

    def predict(self) -> int:
        """Run all seeds, each continued if it is there; the first exit code that is neither 0 nor 3, else 0."""
        for seed in self.seeds:
            own = [f"seed={seed}", f"out={self.out}/seed-{seed}"]
            code = fcs_predict(["--config", self.config, *self.settings, *own])
            if code not in (0, 3):
                return code
        return 0

    def results(self) -> tuple[torch.Tensor, Truth, int]:
        """All seeds' pictures, uint8 ``(S, N, C, H, W)``, of the records that no run failed; how many others."""
        run, _ = self.loaded
        model = load(find(run.model.name, run.model.revision))
        truth = read_truth(resolve(run.data.shards), record_format(run, model), run.data.limit)
        results = [read_results(self.out / f"seed-{seed}", truth) for seed in self.seeds]
        kept = torch.stack([found for _, found in results]).all(0)
        return torch.stack([pictures[kept] for pictures, _ in results]), truth.only(kept), int((~kept).sum())

    def styled(self, truth: Truth) -> dict[str, torch.Tensor]:
        """Means over the seeds of what the rows say of style and prompt, ``(N,)`` each."""
        seeds = [read_scores(self.out / f"seed-{seed}", truth, STYLED) for seed in self.seeds]
        return {name: torch.stack([scores[name] for scores in seeds]).mean(0) for name in STYLED}

    @property
    def what(self) -> dict[str, Any]:
        """What an evaluation is of, as its file says it."""
        run, settings = self.loaded
        given = [run.data.shards] if isinstance(run.data.shards, str) else run.data.shards
        return {
            "model": run.model.name,
            "config": {
                key: settings[key] for key in ("task", "sampler", "steps", "levels", "guidance", "guidance_stop")
            },
            "captions": self.captions,
            "shards": [Path(name).name for name in given],
            "limit": run.data.limit,
            "seeds": list(self.seeds),
        }

    def finished(self) -> dict[str, Any] | None:
        """The evaluation that is there already, if it is of the same things."""
        if not (self.out / FILE).exists():
            return None
        report: dict[str, Any] = json.loads((self.out / FILE).read_text())
        same = all(report.get(key) == value for key, value in self.what.items())
        return report if same else None

    @torch.no_grad()
    def evaluate(self, versus: Path | None = None) -> dict[str, Any]:
        """Judge the finished runs and write ``evaluate.json``; returns what it holds.

        Args:
            versus: folder of another evaluation, for paired differences.
        """
        samples, truth, failed = self.results()
        figures: dict[str, torch.Tensor] = {}
        if len(truth.pictures):
            figures = judge(samples, truth) if self.truth else self.styled(truth)
        report: dict[str, Any] = {
            **origin(),
            **self.what,
            "records": len(truth.pictures),
            "failed": failed,
            **read_columns(self.out / f"seed-{self.seeds[0]}"),
            **intervals(figures, truth.groups),
        }
        single = {figure: figures[figure].tolist() for figure in PAIRED if figure in figures}
        report["single"] = {"record": truth.names, "group": truth.groups.tolist(), **single}
        if versus is not None:
            other = json.loads((versus / FILE).read_text())
            report["versus"] = {"of": str(versus), **differences(report["single"], other["single"])}
        (self.out / FILE).write_text(json.dumps(report, indent=1) + "\n")
        return report


def intervals(figures: dict[str, torch.Tensor], groups: torch.Tensor) -> dict[str, Any]:
    """Mean and interval of each figure over the records that have it; None where none has."""
    found: dict[str, Any] = {}
    for name, values in figures.items():
        there = ~values.isnan()
        found[name] = interval(values[there], groups[there]) if there.any() else None
    return found
