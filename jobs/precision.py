r"""How good a finite difference is in 16 bits, at each level, and what it does to the results.

    python jobs/precision.py --model digits-16 --out runs/precision/digits
    python jobs/precision.py --model digits-16 --dtypes fp16 --levers plain --every 4 --records 2 --out DIR
    python jobs/precision.py --model PATH --config sd15_half --dtypes bf16,fp16,tf32 --out DIR data.shards=SHARDS
    python jobs/precision.py --model emoji-64 --records 0 --quality --limit 48 --seeds 0,1 --out DIR
    python jobs/precision.py --model emoji-64 --config emoji_superres4 --records 0 --quality --seeds 0,1 --out DIR
    python jobs/precision.py --model emoji-64 --config emoji_superres4_vae_newton --codec --every 20 --out DIR

One batch is sampled in float32 by the config's Newton sampler. At every --every-th level, before the first and before
the last move, the difference for the error that is there is taken in each arithmetic and over each length, and its
cosines are told, mean and least over the records: rounding (to the same difference in float64), truncation (that to
the true J e, a float64 difference over 1e-4), whole (16 bits to the true J e). `auto` is what sampler.difference=auto
chooses. --levers: `plain` autocast; `ends`, the first and last convolution in float32; `sums`, also what lies between
matrix products (what runs do); `forward-mode`, the derivative itself with 16-bit weights. `auto` also as a central
difference, which costs a call more. A way passes where its rounding cosine is .99 (fp16, tf32) or .95 (bf16) in the
mean over records at all t up to 900.

--codec measures the errors of VAE Newton instead (a config with task.error=vae_newton), at every --every-th of them:
cosines, with the exact error, of those by an autoencoder in TF32 (its rounding is imitated, on a CPU too) or bf16, in
the encoder, the decoder or both, over each of --deltas as task.difference.

--quality runs the same records and seeds in float32, with replacement, in 16 bits with auto and with delta .005, and in
float32 over the lengths that auto chose for the 16 bits. It says whether 16 bits equal 32 (the interval of the paired
difference of the energy score lies within 5 % of the gap between replacement and float32), once against float32 with
delta .005 and once against the same lengths, where only rounding is left; of a config that restores pictures, whether
their PSNR falls at most .2 dB (one-sided 95 %). Writes OUT/precision.json, precision.md and, for each type,
precision-TYPE.png; the runs are in OUT/quality. What follows the options are overrides of the config.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from analysis import codec, equality
from analysis.arithmetic import DTYPES, arithmetics
from analysis.plots import draw_rounding
from analysis.points import CONFIGS
from analysis.rounding import Gauge, Passing, Place
from analysis.roundings import by_level, summary, summary_table
from command import configured
from contact_sheets import draw

from fcs.bench.options import numbers, whole
from fcs.bench.origin import origin, write_json
from fcs.bench.trial import Trial
from fcs.core.collate import collate
from fcs.core.directions import Newton
from fcs.core.errors import UsageError
from fcs.core.records import Batch
from fcs.core.tf32 import tf32
from fcs.engine.config import load_config
from fcs.engine.pipeline_loading import load_pipeline, record_format
from fcs.engine.preflight import Preflight, preflight
from fcs.shards.input.open_shards import OpenShards
from fcs.tasks.measured import EncodedMeasured
from fcs.tasks.pipeline import Pipeline
from fcs.tasks.restore import Restore
from fcs.tools.cli.ends import Parser

EMPTY = ("data.captions=false", "trainer.precision=32", "trainer.compile=false", "previews.max=0")


def drawn(checked: Preflight, solver: Pipeline, count: int) -> Batch:
    """A batch of records drawn by seed 0."""
    form = record_format(checked.config, solver.model)
    shards = OpenShards(checked.sources, form)
    found = [record for _, record in draw(shards, checked.sources, count, 0)]
    shards.close()
    shape = (form.channels, form.height, form.width)
    return collate("precision", 0, found, shape, checked.config.seed).to(solver.model.device)


def newton(solver: Pipeline) -> Newton:
    """The sampler's direction.

    Raises:
        UsageError: it has no Newton direction.
    """
    direction = getattr(solver.sampler, "direction", None)
    if not isinstance(direction, Newton):
        raise UsageError.of("sampler", type(solver.sampler).__name__.lower(), "newton, with direction=newton")
    return direction


def measured(args: argparse.Namespace, overrides: Sequence[str]) -> Gauge:
    """All arithmetics over all lengths, where a run comes by.

    Raises:
        UsageError: an option or a configuration that does not fit.
    """
    deltas = numbers(args.deltas, "--deltas")
    run, settings = load_config.load(
        [args.config], [*EMPTY, *overrides, f"out={args.out}/unused"]
    )  # nothing is written
    checked = preflight(run, settings)
    solver = load_pipeline(checked)
    path = newton(solver)
    model = solver.model.to("cuda" if torch.cuda.is_available() else "cpu")
    levels = model.schedule.levels(run.steps, run.levels)
    found = arithmetics(model, args.dtypes.split(","), args.levers.split(","))
    reference = torch.float32 if args.float32 else torch.float64
    gauge = Gauge(model, [one.measured(model, levels) for one in found], deltas, reference)
    chosen = {level.t for level in levels[: -1 : args.every]}
    last = len(getattr(solver.sampler, "step_sizes", (0,))) - 1

    def show(place: Place) -> None:
        if place.level.t in chosen and place.moves in (0, last):
            gauge(place)
            print(f"t={place.level.t:.0f} after {place.moves} moves", flush=True)

    sampler = solver.sampler.with_direction(Passing(path, show))
    with tf32(False):
        replace(solver, sampler=sampler)(drawn(checked, solver, args.records))
    return gauge


def encoded(args: argparse.Namespace, differences: list[float], overrides: Sequence[str]) -> list[codec.Row]:
    """The errors of a run by VAE Newton, with the autoencoder in fewer bits.

    Raises:
        UsageError: a configuration that does not fit, or of another error.
    """
    run, settings = load_config.load([args.config], [*EMPTY, *overrides, f"out={args.out}/unused"])
    if not isinstance(run.task, Restore) or run.task.makes is not EncodedMeasured:
        raise UsageError.of("--config", args.config, "one with task.error=vae_newton")
    checked = preflight(run, settings)
    solver = load_pipeline(checked)
    with torch.no_grad():
        met = codec.errors_met(solver, drawn(checked, solver, args.records), args.every)
        return codec.measured(solver.model, met, differences)


def quality(args: argparse.Namespace, seeds: tuple[int, ...], overrides: Sequence[str]) -> list[dict[str, Any]]:
    """The arms on the same records and seeds.

    Raises:
        UsageError: a configuration that does not fit, or one seed where two are needed.
    """
    limit = [] if args.limit is None else [f"data.limit={args.limit}"]
    common = (f"model.name={args.model}", "previews.max=0", *limit, *overrides)
    dtypes = [name for name in args.dtypes.split(",") if name in equality.TRAINER]
    run, _ = load_config.load([args.config], [*common, f"out={args.out}/unused"])
    restored = isinstance(run.task, Restore)
    if len(seeds) < 2 and not restored:
        raise UsageError.of("--seeds", args.seeds, "two or more, comma separated, for an energy score")
    base = Trial(args.config, common, seeds, args.out / "quality")
    return equality.judged(base, dtypes, not args.no_published, restored)


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/precision.py", __doc__)
    parser.add_argument("--model", required=True, help="model.name")
    parser.add_argument("--config", help="config with a Newton sampler (the model's own half-picture inpainting)")
    parser.add_argument("--dtypes", default="bf16", help=f"of {', '.join(DTYPES)}; tf32 on a GPU (%(default)s)")
    parser.add_argument("--levers", default="plain,ends,sums,forward-mode", help="(%(default)s)")
    parser.add_argument("--deltas", default="0.005,0.02,0.05,0.1,0.2,0.5,1", help="(%(default)s)")
    parser.add_argument("--every", type=int, default=1, help="measure at every so-many-th level (%(default)s)")
    parser.add_argument("--records", type=int, default=4, help="to measure on, drawn by seed 0; 0: not (%(default)s)")
    parser.add_argument("--float32", action="store_true", help="hold against float32, not float64: for large models")
    parser.add_argument("--codec", action="store_true", help="measure VAE Newton's errors instead of J e")
    parser.add_argument("--quality", action="store_true", help="judge whole runs too")
    parser.add_argument("--no-published", action="store_true", help="leave 16 bits with delta .005 out of --quality")
    parser.add_argument("--limit", type=int, help="records of --quality (all)")
    parser.add_argument("--seeds", default="0,1,2,3", help="of --quality; one will do for a PSNR (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    return parser


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Measure, judge, write.

    Raises:
        UsageError: an option that does not fit.
    """
    args.config = args.config or CONFIGS.get(args.model)
    if args.config is None:
        raise UsageError.of("--config", "", f"a config with a Newton sampler for {args.model}")
    if args.every < 1:
        raise UsageError.of("--every", args.every, "1 or more")
    seeds = whole(args.seeds, "--seeds")
    facts: dict[str, Any] = {**origin(), "torch": torch.__version__, "model": args.model, "config": args.config}
    told = []
    if args.codec:
        facts["codec"] = encoded(args, numbers(args.deltas, "--deltas"), [f"model.name={args.model}", *overrides])
        told.append(codec.table(facts["codec"]))
    elif args.records:
        gauge = measured(args, [f"model.name={args.model}", *overrides])
        args.out.mkdir(parents=True, exist_ok=True)
        lengths = {one.name: dict(one.lengths) for one in gauge.arithmetics}
        facts |= {"records": args.records, "lengths": lengths, "refused": gauge.refused}
        facts |= {"summary": summary(gauge.rows), "rows": gauge.rows}
        told += [summary_table(facts["summary"]), *by_level(gauge.rows)]
        for dtype in dict.fromkeys(one["dtype"] for one in gauge.rows):
            draw_rounding([one for one in gauge.rows if one["dtype"] == dtype], args.out / f"precision-{dtype}.png")
    if args.quality:
        facts["quality"] = quality(args, seeds, overrides)
        told.append(equality.table(facts["quality"]))
    write_json(args.out / "precision.json", facts)
    (args.out / "precision.md").write_text("\n".join(told))
    print("\n".join(told))


if __name__ == "__main__":
    configured(parser(), run)
