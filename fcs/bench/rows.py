"""A row of a comparison: what a method cost and how its results score."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from fcs.bench.comparison import Contest, Entrant
from fcs.bench.figures import STYLED, differences
from fcs.bench.lpips import lpips
from fcs.bench.memory import memory
from fcs.bench.references import distances
from fcs.bench.trial import Trial
from fcs.tools.cli.ends import TOO_MANY_FAILURES

COLUMNS = (
    *("method", "calls", "backwards", "seconds", "memory", "energy", "energy_low", "energy_high", "retrieval"),
    *("residual", "diversity", "kid", "fid", "psnr", "ssim", "lpips", "note"),
)
FURTHER = (
    *("budget", "levels", "setting", "records", "failed", "kid_error", "psnr_mean_of_seeds", "ssim_mean_of_seeds"),
    *("psnr_generated", "energy_random", "energy_random_low", "energy_random_high"),
    *("difference", "difference_low", "difference_high"),
    *("style", "clip"),
)
MEANS = {
    "retrieval": "retrieval",
    "psnr": "psnr_one_seed",
    "psnr_generated": "psnr_generated_one_seed",
    "psnr_mean_of_seeds": "psnr_mean_of_seeds",
    "ssim": "ssim_one_seed",
    "ssim_mean_of_seeds": "ssim_mean_of_seeds",
}
Row = dict[str, Any]


def row(contest: Contest, entrant: Entrant, measured: bool) -> tuple[Row, dict[str, Any] | None]:
    """A method's row and its evaluation; it is run if that was not done yet.

    Args:
        contest: what all methods have in common.
        entrant: the method.
        measured: whether memory is measured, in a fresh process.
    """
    empty: Row = dict.fromkeys((*COLUMNS, *FURTHER))
    found = {**empty, "method": entrant.method.name, "budget": entrant.budget, "calls": 0, "backwards": 0}
    if entrant.levels is None:
        return {**found, "note": "; ".join(entrant.notes)}, None
    trial = contest.trial(entrant)
    report = finished(trial)
    sampler = entrant.method.sampler(entrant.setting)
    found |= {"levels": entrant.levels, "setting": entrant.setting}
    found |= {"calls": sampler.calls(entrant.levels), "backwards": sampler.backwards(entrant.levels)}
    if report is None:
        return {**found, "note": "; ".join([*entrant.notes, "every record failed"])}, None
    scores, notes = scored(contest, trial, report)
    if measured:
        scores["memory"] = peak(trial)
    return {**found, **scores, "note": "; ".join([*entrant.notes, *notes])}, report


def finished(trial: Trial) -> dict[str, Any] | None:
    """The evaluation, made if it is not there yet; None where every record failed. Another failure ends the job."""
    report = trial.finished()
    if report is None:
        code = trial.predict()
        if code == TOO_MANY_FAILURES:
            return None
        if code:
            sys.exit(code)
        report = trial.evaluate()
    return report if report["records"] else None


def scored(contest: Contest, trial: Trial, report: dict[str, Any]) -> tuple[Row, list[str]]:
    """What an evaluation says in the terms of a row, distances between sets, and what is missing."""
    found: Row = {name: report[name] for name in ("records", "failed")}
    found |= {name: report[name] if math.isfinite(report[name]) else None for name in ("seconds", "residual")}
    notes = [f"{report['failed']} records failed and are in no score"] if report["failed"] else []
    if not contest.setup.truth:
        found |= {name: (report.get(name) or {}).get("mean") for name in STYLED}
        return found, [*notes, "no truth to score against"]
    features = own(report)
    if len(contest.seeds) < 2:
        notes.append("one seed: no energy score, no diversity")
    elif features == "random":
        notes.append("energy score in the random network's features")
    found |= interval(report, f"energy_{features}", "energy") | interval(report, "energy_random", "energy_random")
    means = {**MEANS, "diversity": f"diversity_{features}"}
    found |= {name: (report.get(key) or {}).get("mean") for name, key in means.items()}
    samples, truth, _ = trial.results()
    apart, told = distances(samples[0], contest.setup, truth)
    found["lpips"], why = lpips(samples[0], truth.pictures)
    return found | apart, [*notes, *(text for text in (told, why) if text)]


def peak(trial: Trial) -> int:
    """Bytes above the weights, measured once."""
    kept = trial.out / "memory.json"
    if not kept.exists():
        size = memory(trial.config, [*trial.settings, f"out={trial.out}/unused"])
        kept.write_text(json.dumps({"bytes": size}) + "\n")
    return int(json.loads(kept.read_text())["bytes"])


def compared(rows: list[Row], reports: dict[tuple[str, int | None], dict[str, Any]], to: str) -> list[Row]:
    """The rows with the paired difference of the energy score to that of method ``to`` at the same budget."""
    found = []
    for one in rows:
        here, there = reports.get((one["method"], one["budget"])), reports.get((to, one["budget"]))
        if here is not None and there is not None and one["method"] != to:
            one = one | interval(differences(here["single"], there["single"]), f"energy_{own(here)}", "difference")
        found.append(one)
    return found


def own(report: dict[str, Any]) -> str:
    """Whose features its energy score is first of all in: the model's ``own``, or where there are none ``random``."""
    return "own" if report.get("energy_own") else "random"


def interval(report: dict[str, Any], key: str, name: str) -> dict[str, float | None]:
    """A figure with its bounds as three entries of a row."""
    figure = report.get(key) or {}
    return {name: figure.get("mean"), f"{name}_low": figure.get("low"), f"{name}_high": figure.get("high")}
