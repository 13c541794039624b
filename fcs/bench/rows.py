"""A row of a comparison: what a method cost and how its results score."""

from __future__ import annotations

import json
import math
from typing import Any

from fcs.bench.comparison import Candidate, Comparison
from fcs.bench.lpips import lpips
from fcs.bench.memory import memory
from fcs.bench.origin import write_json
from fcs.bench.paired import STYLED, differences
from fcs.bench.references import distances
from fcs.bench.trial import RunFailed, Trial
from fcs.core.exit_codes import TOO_MANY_FAILURES

COLUMNS = (
    *("method", "calls", "backwards", "seconds", "memory", "energy", "energy_low", "energy_high", "retrieval"),
    *("residual", "diversity", "kid", "fid", "psnr", "ssim", "lpips", "note"),
)
ENDS = ("", "_low", "_high", "_difference", "_difference_low", "_difference_high")
FURTHER = (
    *("budget", "levels", "setting", "records", "failed", "kid_error", "psnr_mean_of_seeds", "ssim_mean_of_seeds"),
    *("psnr_generated", "energy_random", "energy_random_low", "energy_random_high"),
    *("difference", "difference_low", "difference_high"),
    *("style", "clip"),
    *(f"{name}{end}" for name in ("consistency", "tv") for end in ENDS),
    *("consistency_floor", "tv_perfect", "variety", "variety_expected"),
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


def row(comparison: Comparison, candidate: Candidate, measured: bool) -> tuple[Row, dict[str, Any] | None]:
    """A method's row and its evaluation; it is run if that was not done yet.

    Args:
        comparison: what all methods have in common.
        candidate: the method.
        measured: whether memory is measured, in a fresh process.
    """
    empty: Row = dict.fromkeys((*COLUMNS, *FURTHER))
    found = {**empty, "method": candidate.method.name, "budget": candidate.budget, "calls": 0, "backwards": 0}
    if candidate.levels is None:
        return {**found, "note": "; ".join(candidate.notes)}, None
    trial = comparison.trial(candidate)
    report = evaluated(trial)
    sampler = candidate.method.build(candidate.setting)
    found |= {"levels": candidate.levels, "setting": candidate.setting}
    found |= {"calls": sampler.calls(candidate.levels), "backwards": sampler.backwards(candidate.levels)}
    if report is None:
        return {**found, "note": "; ".join([*candidate.notes, "every record failed"])}, None
    scores, notes = scored(comparison, trial, report)
    if measured:
        scores["memory"] = peak(trial)
    return {**found, **scores, "note": "; ".join([*candidate.notes, *notes])}, report


def evaluated(trial: Trial) -> dict[str, Any] | None:
    """The evaluation of a trial, which is run if that was not done yet; None where every record failed.

    Raises:
        RunFailed: a run ended early for another reason.
    """
    try:
        report = trial.report()
    except RunFailed as error:
        if error.code == TOO_MANY_FAILURES:
            return None
        raise
    return report if report["records"] else None


def scored(comparison: Comparison, trial: Trial, report: dict[str, Any]) -> tuple[Row, list[str]]:
    """What an evaluation says in the terms of a row, distances between sets, and what is missing."""
    found: Row = {name: report[name] for name in ("records", "failed")}
    found |= {name: report[name] if math.isfinite(report[name]) else None for name in ("seconds", "residual")}
    notes = [f"{report['failed']} records failed and are in no score"] if report["failed"] else []
    if not comparison.setup.truth:
        found |= {name: (report.get(name) or {}).get("mean") for name in STYLED}
        return found, [*notes, "no truth to score against"]
    features = own(report)
    if len(comparison.seeds) < 2:
        notes.append("one seed: no energy score, no diversity")
    elif features == "random":
        notes.append("energy score in the random network's features")
    found |= interval(report, f"energy_{features}", "energy") | interval(report, "energy_random", "energy_random")
    means = {**MEANS, "diversity": f"diversity_{features}"}
    found |= {name: (report.get(key) or {}).get("mean") for name, key in means.items()}
    found |= of_posterior(report)
    samples, truth, _ = trial.results()
    apart, told = distances(samples[0], truth, comparison.reference)
    found["lpips"], why = lpips(samples[0], truth.pictures)
    return found | apart, [*notes, *(text for text in (told, why) if text)]


def of_posterior(report: dict[str, Any]) -> Row:
    """Consistency and calibration in the mean over attributes, of records whose posterior is known; else nothing."""
    known = report.get("posterior", {})
    found = interval(report, "consistency", "consistency")
    found |= {"consistency_floor": known.get("consistency", {}).get("mean", {}).get("floor")}
    spread = known.get("calibration", {}).get("mean", {})
    found |= {"tv": spread.get("tv"), "tv_low": spread.get("low"), "tv_high": spread.get("high")}
    names = {"tv_perfect": "perfect", "variety": "variety", "variety_expected": "expected"}
    return found | {name: spread.get(key) for name, key in names.items()}


def peak(trial: Trial) -> int:
    """Bytes above the weights, measured once."""
    kept = trial.out / "memory.json"
    if not kept.exists():
        size = memory(trial.config, [*trial.settings, f"out={trial.out}/unused"])
        write_json(kept, {"bytes": size})
    return int(json.loads(kept.read_text())["bytes"])


def compared(rows: list[Row], reports: dict[tuple[str, int | None], dict[str, Any]], to: str) -> list[Row]:
    """The rows with their paired differences to method ``to`` at the same budget: energy, consistency, calibration."""
    found = []
    for one in rows:
        here, there = reports.get((one["method"], one["budget"])), reports.get((to, one["budget"]))
        if here is not None and there is not None and one["method"] != to:
            apart = differences(here["single"], there["single"])
            one = one | interval(apart, f"energy_{own(here)}", "difference")
            for name in ("consistency", "tv"):
                one = one | interval(apart, name, f"{name}_difference")
        found.append(one)
    return found


def own(report: dict[str, Any]) -> str:
    """The features of its energy score: ``own`` where some fit the pictures, else ``random``."""
    return "own" if report.get("energy_own") else "random"


def interval(report: dict[str, Any], key: str, name: str) -> dict[str, float | None]:
    """A figure with its bounds as three entries of a row."""
    figure = report.get(key) or {}
    return {name: figure.get("mean"), f"{name}_low": figure.get("low"), f"{name}_high": figure.get("high")}
