"""Trains faces-64, a latent diffusion model in Stable Diffusion's format, on what build_faces.py drew.

    python jobs/build_faces.py --out runs/faces/data --pool
    python jobs/train_faces.py --stage classifier --minutes 15 --out runs/faces/model
    python jobs/train_faces.py --stage vae --minutes 60 --ranks 2 --out runs/faces/model   # interrupted: run it again
    python jobs/train_faces.py --stage vae --device cuda --minutes 8 --out runs/faces/model
    python jobs/train_faces.py --stage unpack --weights fcs/weights/faces-64 --out runs/faces/model   # or: what ships
    python jobs/train_faces.py --stage flow --start runs/faces/model --minutes 60 --out runs/faces/model   # from eps
    python jobs/train_faces.py --stage dit --minutes 75 --out runs/faces/model   # the flow by a transformer, as SD 3
    python jobs/train_faces.py --stage consistency --minutes 60 --out runs/faces/model   # the flow in a few steps

A stage brings its learning rate to 0 within its minutes or steps, keeps a checkpoint and goes on from it, and writes
its model. It ends with 75 after SIGTERM. One whose model is there already is not run again. An `export` (`-flow`,
`-dit`, `-consistency`) comes last; `unpack` is its inverse.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import transformers
from faces.classifier import train_classifier
from faces.denoiser import train_denoiser
from faces.distil import train_consistency
from faces.export import export
from faces.kinds import KINDS
from faces.pictures import Pool
from faces.text import train_text
from faces.unpack import unpack
from faces.vae import train_vae
from training.fit import State
from training.interruption import exit_when_asked
from training.plan import Budget, Plan

Train = Callable[[Pool, Pool, Plan], State]
STAGES: dict[str, Train] = {
    "classifier": train_classifier,
    "vae": train_vae,
    "text": train_text,
    "unet": partial(train_denoiser, KINDS["unet"]),
    "flow": partial(train_denoiser, KINDS["flow"]),
    "consistency": train_consistency,
    "dit": partial(train_denoiser, KINDS["dit"]),
}
EXPORTS = {"export" if stage == "unet" else f"export-{stage}": kind for stage, kind in KINDS.items()}


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=(*STAGES, *EXPORTS, "unpack"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, models and grids")
    parser.add_argument("--data", type=Path, default=Path("runs/faces/data"), help="of build_faces.py (%(default)s)")
    parser.add_argument("--weights", type=Path, help="that an export writes and unpack reads")
    parser.add_argument("--sampled", type=int, default=240, help="faces that an export draws to judge (%(default)s)")
    parser.add_argument("--start", type=Path, help="weights to go on from, such as fcs/weights/faces-64")
    parser.add_argument("--minutes", type=float, help="of training")
    parser.add_argument("--steps", type=int, help="of training, instead of minutes")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(%(default)s)")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="(%(default)s)")
    parser.add_argument("--ranks", type=int, default=1, help="processes on the CPU (%(default)s)")
    parser.add_argument("--note", default="", help="for an export: what else the card should say of this training")
    return parser.parse_args()


def main() -> None:
    """Run one stage unless its report is there already."""
    transformers.logging.set_verbosity_error()  # else: image processors ask for torchvision
    args = parse()
    exit_when_asked()
    if args.stage == "unpack":
        unpack(args.weights or Path("fcs/weights/faces-64"), args.out)
        return
    if kind := EXPORTS.get(args.stage):
        weights = args.weights or Path("fcs/weights") / kind.model
        export(kind, Pool.read(args.data, "seen"), args.out, weights, args.seed, args.sampled, args.note)
        return
    report = args.out / f"{args.stage}.json"
    if report.exists():
        print(f"{args.stage}: found in {args.out}", file=sys.stderr)
        return
    budget = Budget(minutes=args.minutes, steps=args.steps)
    ranks = args.ranks if args.device == "cpu" else 1
    plan = Plan(args.out, budget, args.start, args.seed, args.device, args.precision, ranks)
    pool, seen = (Pool.read(args.data, split, args.device) for split in ("train", "seen"))
    state = STAGES[args.stage](pool, seen, plan)
    start = {"start": str(args.start)} if args.start else {}
    options = {**start, "seed": args.seed, "precision": args.precision, "device": args.device, "ranks": ranks}
    report.write_text(json.dumps({**vars(state), "options": options}) + "\n")


if __name__ == "__main__":
    main()
