"""Trains emoji-64, a latent diffusion model in Stable Diffusion's format, on what build_emoji.py made.

    python jobs/train_emoji.py --stage all --out runs/emoji/model
    python jobs/train_emoji.py --stage unet --minutes 60 --out runs/emoji/model   # interrupted: run it again
    python jobs/train_emoji.py --stage export --out runs/emoji/model --weights fcs/weights/emoji-64

Stages follow each other: vae, decoder, clip, unet, export. Each keeps a checkpoint every minute and goes on from it,
brings its learning rate to 0 within its minutes or steps, writes its model, and draws a grid at its end. One
whose model is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from emoji.clip import train_clip
from emoji.dataset import Dataset
from emoji.export import export
from emoji.unet import train_unet
from emoji.vae import train_decoder, train_vae
from training.fit import State
from training.interruption import exit_when_asked
from training.plan import Budget, Plan

Train = Callable[[Dataset, Plan], State]
STAGES: dict[str, Train] = {"vae": train_vae, "decoder": train_decoder, "clip": train_clip, "unet": train_unet}
MINUTES = {"vae": 30.0, "decoder": 6.0, "clip": 12.0, "unet": 65.0}


def train(stage: str, args: argparse.Namespace, dataset: Dataset) -> None:
    """Runs one stage unless its model is there; keeps its losses in `STAGE.json`."""
    if (args.out / stage / "config.json").exists():
        print(f"{stage}: found in {args.out / stage}", file=sys.stderr)
        return
    minutes = args.minutes or getattr(args, f"minutes_{stage}")
    budget = Budget(None if args.steps else minutes, args.steps)
    ranks = args.ranks if args.device == "cpu" else 1
    plan = Plan(args.out, budget, args.start, args.seed, args.device, args.precision, ranks)
    state = STAGES[stage](dataset, plan)
    options = {"seed": args.seed, "precision": args.precision, "device": args.device, "ranks": plan.ranks}
    (args.out / f"{stage}.json").write_text(json.dumps({**vars(state), "options": options}) + "\n")


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=("all", *STAGES, "export"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, models and grids")
    parser.add_argument("--data", type=Path, default=Path("runs/emoji/data"), help="of build_emoji.py (%(default)s)")
    parser.add_argument("--weights", type=Path, default=Path("fcs/weights/emoji-64"), help="for export (%(default)s)")
    parser.add_argument("--start", type=Path, help="weights to go on from, such as fcs/weights/emoji-64")
    parser.add_argument("--minutes", type=float, help="of training, for a single stage")
    for stage, minutes in MINUTES.items():
        parser.add_argument(f"--minutes-{stage}", type=float, default=minutes, help="(%(default)s)")
    parser.add_argument("--steps", type=int, help="of training, instead of minutes")
    parser.add_argument("--seed", type=int, default=0, help="of weights, pictures and noise (0)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(%(default)s)")
    parser.add_argument("--precision", choices=("32", "bf16"), default="bf16", help="of training (%(default)s)")
    parser.add_argument("--ranks", type=int, default=2, help="processes, where the device is cpu (%(default)s)")
    parser.add_argument("--note", default="", help="for export: what else the card should say of this training")
    return parser.parse_args()


def main() -> None:
    """Runs the stages asked for."""
    args = parse()
    exit_when_asked()
    torch.set_num_threads(1)  # the ranks are the parallelism
    transformers.logging.set_verbosity_error()  # else: half of a CLIP is unused where only its text is read
    dataset = Dataset.load(args.data)
    for stage in STAGES if args.stage == "all" else [args.stage]:
        if stage != "export":
            train(stage, args, dataset)
    if args.stage in ("all", "export"):
        torch.set_num_threads(args.ranks)
        export(dataset, args.out, args.weights, args.seed, args.device, args.note)


if __name__ == "__main__":
    main()
