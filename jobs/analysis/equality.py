"""Whether runs in 16 bits are as good as in float32: the same records and seeds in each, judged side by side.

A 16-bit run differs from a float32 one by its rounding and by the length of its difference, which is another
derivative in float32 too. So beside the published delta float32 also runs over the lengths that were measured for the
16 bits: against that run only the rounding is left. Where a picture is restored (superresolution), it is the PSNR that
must not fall.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from fcs.bench.ablate import row
from fcs.bench.paired import PAIRED, Interval, differences
from fcs.bench.tables import markdown
from fcs.bench.trial import Trial
from fcs.shards.ledger.layout import DIFFERENCE

FIRST = "float32"  # what the others are compared with
REPLACEMENT = "replacement"
SHARE = 0.05  # of the gap between replacement and float32: what does not count
FALL = 0.2  # dB of PSNR that 16 bits may cost
ONE_SIDED = 0.9  # level of the interval whose lower end is that of 95 % on one side
PAPER, AUTO = "sampler.difference=0.005", "sampler.difference=auto"
FLOAT32 = "trainer.precision=32"
TRAINER = {"bf16": "bf16", "fp16": "16"}  # trainer.precision by type
Row = dict[str, Any]


def same_lengths(dtype: str) -> str:
    """Name of the arm that is in float32 over the lengths measured for a type."""
    return f"{FIRST}-{dtype}-lengths"


def arms(dtypes: Sequence[str], published: bool = True, restored: bool = False) -> dict[str, tuple[str, ...]]:
    """What is run, by name.

    float32 and, for the gap, replacement; each type with ``auto``, and float32 over the same lengths. Where a picture
    is restored there is nothing to replace, and what counts is the PSNR against float32 as it is.

    Args:
        dtypes: of ``TRAINER``.
        published: whether each type also runs with the paper's delta.
        restored: whether a picture is restored.
    """
    found: dict[str, tuple[str, ...]] = {FIRST: (FLOAT32, PAPER)}
    found |= {} if restored else {REPLACEMENT: (FLOAT32, "sampler=replacement")}
    for dtype in dtypes:
        precision = f"trainer.precision={TRAINER[dtype]}"
        found[f"{dtype}-auto"] = (precision, AUTO)
        found |= {} if restored else {same_lengths(dtype): (FLOAT32, AUTO)}
        found |= {f"{dtype}-0.005": (precision, PAPER)} if published else {}
    return found


def verdict(gap: Interval, difference: Interval) -> str:
    """Whether a difference from float32 counts, by its interval and that of the gap; both of the energy score.

    Equal: the interval lies within ``SHARE`` of the gap on both sides of 0. Worse or better: it lies beyond that. Not
    worse: it reaches beyond that on the better side alone, which is that of lower scores.
    """
    if gap["low"] <= 0 <= gap["high"]:
        return "the set cannot decide: the gap's interval includes 0"
    bound = SHARE * abs(gap["mean"])
    if -bound <= difference["low"] and difference["high"] <= bound:
        return "equal"
    if difference["low"] > bound:
        return "worse"
    if difference["high"] < -bound:
        return "better"
    return "not worse" if difference["high"] <= bound else "undecided: the interval is too wide"


def restoring_verdict(difference: Interval) -> str:
    """The same of PSNR in dB: it falls at most ``FALL``, by the lower end of a one-sided interval."""
    if difference["low"] >= -FALL:
        return "equal"
    return "worse" if difference["high"] < -FALL else "undecided: the interval is too wide"


def apart(here: Row, there: Row, restored: bool) -> Interval:
    """What judges of one evaluation minus another: the PSNR of what is restored, else the energy score."""
    level = ONE_SIDED if restored else 0.95
    found = differences(here["single"], there["single"], level)
    figure: Interval = found["psnr"] if restored else next(found[name] for name in PAIRED if name in found)
    return figure


def judged(base: Trial, dtypes: Sequence[str], published: bool = True, restored: bool = False) -> list[Row]:
    """A row an arm, with its verdicts where it has them: against float32, and against float32 over its lengths.

    The arguments are those of ``arms``.
    """
    measured = {} if restored else {same_lengths(dtype): f"{dtype}-auto" for dtype in dtypes}
    reports: dict[str, Row] = {}
    for name, overrides in arms(dtypes, published, restored).items():
        if name in measured:
            hand_on(base, measured[name], name)
        reports[name] = base.variant(name, overrides).report()
    gap = {} if restored else apart(reports[REPLACEMENT], reports[FIRST], restored)

    def against(name: str, other: str) -> tuple[Interval, str]:
        difference = apart(reports[name], reports[other], restored)
        return difference, restoring_verdict(difference) if restored else verdict(gap, difference)

    rows: dict[str, Row] = {}
    for name, report in reports.items():
        judging = "psnr" if restored else "energy_own" if report.get("energy_own") else "energy_random"
        rows[name] = row({"arm": name, "judging": judging, judging: report[judging]}, report, None)
        rows[name] |= {"versus": None, "verdict": "", "rounding": "", "difference_to_lengths": None}
        if name != FIRST:
            rows[name]["versus"] = differences(report["single"], reports[FIRST]["single"])
            rows[name]["difference_to_first"], said = against(name, FIRST)
            rows[name]["verdict"] = "" if name == REPLACEMENT else said
    for lengths, name in measured.items():
        rows[name]["difference_to_lengths"], rows[name]["rounding"] = against(name, lengths)
        rows[name]["versus_lengths"] = differences(reports[name]["single"], reports[lengths]["single"])
    return list(rows.values())


def hand_on(base: Trial, measured: str, to: str) -> None:
    """The lengths that an arm's runs measured, for the runs of another: ``auto`` takes what it finds in its folder."""
    for seed in base.seeds:
        source, target = (base.out / name / f"seed-{seed}" / DIFFERENCE for name in (measured, to))
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    judging = rows[0]["judging"]
    head = ["arm", "calls", "seconds", judging.replace("_", " "), "minus float32", "verdict"]
    head += ["minus float32 over the same lengths", "verdict", "right or nearest", "residual"]
    names = ["arm", "nfe", "seconds", judging, "difference_to_first", "verdict", "difference_to_lengths", "rounding"]
    return markdown(head, [[one[name] for name in (*names, "retrieval", "residual")] for one in rows])
