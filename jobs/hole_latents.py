"""How far the latents of the known part are from those of the whole picture, by what is in the hole when it is encoded.

    python jobs/hole_latents.py --model faces-64 --data 'runs/faces/sets/half/*.tar' 'runs/faces/sets/box/*.tar'
    python jobs/hole_latents.py --model emoji-64 --data fcs/samples/emoji/unseen.tar --out FILE

Prints the rms over known cells for each ``task.hole``, in all and by the distance to the hole (1, 2, 3, 4, more cells),
beside the rms of the latents themselves.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from command import command
from torch import Tensor

from fcs import models
from fcs.bench.origin import origin, write_json
from fcs.bench.truth import read_truth
from fcs.core.images import to_float
from fcs.shards.input.decode import Format
from fcs.shards.input.sources import resolve
from fcs.tasks.inpaint import VISIBLE
from fcs.tools.cli.ends import Parser

FARTHEST = 4  # cells from the hole that have a figure of their own


def records(pattern: str, limit: int, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Pictures ``(N, C, H, W)`` in [-1, 1] and which of their pixels are known, ``(N, 1, H, W)`` in {0, 1}.

    Args:
        pattern: of shards.
        limit: how many records at most.
        shape: ``(C, H, W)`` of the pictures.

    Raises:
        UsageError: no shards, or no whole record in them.
    """
    truth = read_truth(resolve(pattern), Format(*shape, needs_mask=True), limit)
    return to_float(truth.pictures), (truth.masks < 255).float()


def rings(unknown: Tensor) -> list[Tensor]:
    """Booleans ``(N, 1, h, w)``: the cells at distance 1, 2, ... of the hole, and those farther away."""
    within, found = unknown, []
    for _ in range(FARTHEST):
        grown = F.max_pool2d(within, 3, stride=1, padding=1)
        found.append(grown > within)
        within = grown
    return [*found, within == 0]


def rms(values: Tensor, where: Tensor) -> float | None:
    """Over the cells ``where``; None where there are none."""
    chosen = values[where.expand_as(values)]
    return round(float(chosen.square().mean().sqrt()), 4) if chosen.numel() else None


def measure(model: models.Model, pictures: Tensor, known: Tensor) -> dict[str, object]:
    """The figures of one model and set of masks."""
    unknown = F.max_pool2d(1 - known, model.factor)
    with torch.no_grad():
        whole = model.encode(pictures)
        off = {hole: model.encode(visible(pictures, known)) - whole for hole, visible in VISIBLE.items()}
    by_distance = rings(unknown)
    return {
        "records": len(pictures),
        "latents": rms(whole, unknown == 0),
        "off": {hole: rms(values, unknown == 0) for hole, values in off.items()},
        "off_by_distance": {hole: [rms(values, ring) for ring in by_distance] for hole, values in off.items()},
    }


def run(args: argparse.Namespace) -> None:
    """Measure each set, print and write."""
    model = models.load(models.find(args.model))
    sets = {data: measure(model, *records(data, args.limit, model.picture_shape)) for data in args.data}
    print(json.dumps(sets, indent=1))
    if args.out is not None:
        write_json(args.out, {**origin(), "model": args.model, "sets": sets})


def parser() -> Parser:
    """Command line."""
    options = Parser("python jobs/hole_latents.py", __doc__)
    options.add_argument("--model", default="faces-64", metavar="NAME", help="an embedded model or a folder")
    options.add_argument("--data", nargs="+", required=True, metavar="GLOB", help="shards with masks, a set each")
    options.add_argument("--limit", type=int, default=100, metavar="N", help="first N records of a set")
    options.add_argument("--out", type=Path, metavar="FILE", help="figures as JSON")
    return options


if __name__ == "__main__":
    command(parser(), run)
