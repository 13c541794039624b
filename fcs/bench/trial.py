"""One configuration over several seeds: run it, read the results, evaluate them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from fcs.bench import posterior
from fcs.bench.figures import judge, read_attributes
from fcs.bench.origin import origin, write_json
from fcs.bench.paired import PAIRED, STYLED, intervals
from fcs.bench.truth import Truth, read_columns, read_results, read_scores, read_truth
from fcs.core.exit_codes import SOME_FAILED
from fcs.engine.config import load_config
from fcs.engine.config.run import Run
from fcs.engine.pipeline_loading import record_format
from fcs.models import find, load
from fcs.shards.input.sources import resolve
from fcs.tools.cli.predict import main as fcs_predict

FILE = "evaluate.json"
SETTINGS = ("task", "sampler", "steps", "levels", "guidance", "guidance_stop", "negative_prompt")


class RunFailed(RuntimeError):
    """A run of fcs-predict ended early; it has said why, and ``code`` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"fcs-predict ended with {code}")
        self.code = code


@dataclass(frozen=True)
class Trial:
    """A configuration to evaluate.

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
        return load_config.load([self.config], self.settings)

    def variant(self, name: str, overrides: Iterable[str]) -> Trial:
        """The same with further overrides, in a folder of its own below this one's."""
        return replace(self, overrides=(*self.overrides, *overrides), out=self.out / name)

    def predict(self) -> None:
        """Run all seeds, each continued if it is there.

        Raises:
            RunFailed: a run ended with another exit code than 0 and 3.
        """
        for seed in self.seeds:
            own = [f"seed={seed}", f"out={self.out}/seed-{seed}"]
            code = fcs_predict(["--config", self.config, *self.settings, *own])
            if code not in (0, SOME_FAILED):
                raise RunFailed(code)

    def records(self) -> Truth:
        """What the runs are held against.

        Raises:
            UsageError: no shards, or no whole record in them.
        """
        run, _ = self.loaded
        model = load(find(run.model.name, run.model.revision, run.model.variant), options=run.model.options)
        return read_truth(resolve(run.data.shards), record_format(run, model), run.data.limit)

    def results(self) -> tuple[torch.Tensor, Truth, int]:
        """All seeds' pictures, uint8 ``(S, N, C, H, W)``, of the records that no run failed; how many others."""
        truth = self.records()
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
            "config": {key: settings[key] for key in SETTINGS},
            "precision": settings["trainer"]["precision"],
            "captions": self.captions,
            "shards": [Path(name).name for name in given],
            "limit": run.data.limit,
            "seeds": list(self.seeds),
        }

    def finished(self) -> dict[str, Any] | None:
        """The evaluation that an earlier command made, if it is of the same things."""
        if not (self.out / FILE).exists():
            return None
        report: dict[str, Any] = json.loads((self.out / FILE).read_text())
        same = all(report.get(key) == value for key, value in self.what.items())
        return report if same else None

    def report(self) -> dict[str, Any]:
        """The evaluation, made if it is not there yet.

        Raises:
            RunFailed: a run ended early.
        """
        found = self.finished()
        if found is None:
            self.predict()
            found = self.evaluate()
        return found

    def evaluate(self) -> dict[str, Any]:
        """Judge the finished runs and write ``evaluate.json``; returns what it holds."""
        samples, truth, failed = self.results()
        report = {
            **origin(),
            **self.what,
            "failed": failed,
            **read_columns(self.out / f"seed-{self.seeds[0]}"),
            **self.judged(samples, truth),
        }
        write_json(self.out / FILE, report)
        return report

    @torch.no_grad()
    def judged(self, samples: torch.Tensor, truth: Truth) -> dict[str, Any]:
        """Figures of all records with their intervals, and those of each record (``single``).

        Args:
            samples: uint8 ``(S, N, C, H, W)``, whoever made them.
            truth: of the same records.
        """
        figures: dict[str, torch.Tensor] = {}
        readings = None
        if len(truth.pictures) and self.truth:
            figures, readings = judge(samples, truth), read_attributes(samples, truth)
        elif len(truth.pictures):
            figures = self.styled(truth)
        if readings is not None:
            figures["consistency"] = torch.from_numpy(readings.consistency)
        single: dict[str, Any] = {figure: figures[figure].tolist() for figure in PAIRED if figure in figures}
        if readings is not None:
            single["excess"] = {name: part.round(5).tolist() for name, part in posterior.excess(readings).items()}
        return {
            "records": len(truth.pictures),
            **intervals(figures, truth.groups),
            **({} if readings is None else {"posterior": posterior.report(readings)}),
            "single": {"record": truth.names, "group": truth.groups.tolist(), **single},
        }
