"""A contact sheet of each config: what is given, what is made, what is true; records drawn by seed 0, none picked.

    python jobs/contact_sheets.py --out docs/pictures --configs emoji_half,emoji_box
    python jobs/contact_sheets.py --out runs/look --configs digits_inpaint steps=10
    python jobs/contact_sheets.py --out docs/pictures --configs faces_inpaint --beside "sampler=replacement steps=40"

Draws records from the config's shards, samples them as fcs-predict would (same seeds, same settings; in one batch, so
rounding may differ) and writes OUT/CONFIG.png. What follows the options are overrides of every config; --beside shows
what further ones make of the same records, above what the config makes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from command import configured
from PIL import Image
from torch import Tensor

from fcs.core.collate import collate
from fcs.core.images import to_pil
from fcs.core.records import Record
from fcs.engine.config import load_config
from fcs.engine.pipeline_loading import load_pipeline, record_format
from fcs.engine.preflight import preflight
from fcs.shards.input.open_shards import OpenShards
from fcs.shards.input.sources import Source
from fcs.tools.cli.ends import Parser

GAP = 4


def draw(shards: OpenShards, sources: list[Source], count: int, seed: int) -> list[tuple[str, Record]]:
    """Whole records with their shards' names, at random over all shards."""
    places: list[tuple[int, int]] = []
    for number in range(len(sources)):
        with shards.reading(number) as reader:
            places += [(number, i) for i in range(len(reader))]
    order = np.random.default_rng(seed).permutation(len(places))
    found: list[tuple[str, Record]] = []
    for place in order:
        number, index = places[place]
        with shards.reading(number) as reader:
            record = reader.record(index)
        if record.error is None and len(found) < count:
            found.append((sources[number].stem, record))
    return found


def columns(name: str, overrides: list[str], count: int, seed: int) -> list[Tensor]:
    """Rows of the sheet, uint8 ``(n, C, H, W)`` each: given, made and whatever else was, true."""
    run, settings = load_config.load([name], overrides)
    checked = preflight(run, settings)
    solver = load_pipeline(checked)
    form = record_format(run, solver.model)
    shards = OpenShards(checked.sources, form)
    shown: list[list[Tensor]] = []
    for shard, record in draw(shards, checked.sources, count, seed):
        # One by one: a record's noise depends on its shard, and these are of several.
        batch = collate(shard, 0, [record], (form.channels, form.height, form.width), run.seed, run.data.prompt)
        batch = batch.to(solver.model.device)
        result = solver(batch)
        truth = run.task.reference(batch)
        rows = [run.task.given(batch), result.images, *result.further.values()]
        shown.append([row[0].cpu() for row in (rows if truth is None else [*rows, truth])])
    shards.close()
    return [torch.stack([enlarged(row[i], solver.model.picture_shape) for row in shown]) for i in range(len(shown[0]))]


def enlarged(picture: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """A picture ``(c, h, w)`` in colour at the size of the largest, by whole pixels."""
    factor = shape[1] // picture.shape[1]
    return picture.expand(3, -1, -1).repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def sheet(rows: list[Tensor], side: int) -> Image.Image:
    """Rows of pictures, each ``side`` pixels wide."""
    canvas = Image.new("RGB", (len(rows[0]) * (side + GAP) + GAP, len(rows) * (side + GAP) + GAP), "#808890")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            shown = to_pil(picture).resize((side, side), Image.Resampling.NEAREST)
            canvas.paste(shown, (GAP + x * (side + GAP), GAP + y * (side + GAP)))
    return canvas


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/contact_sheets.py", __doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the sheets")
    parser.add_argument("--configs", required=True, help="names of shipped configs or paths, comma separated")
    parser.add_argument("--records", type=int, default=8, help="on each sheet (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="by which records are drawn (%(default)s)")
    parser.add_argument("--beside", action="append", default=[], metavar="'KEY=V ...'", help="a row of its own")
    parser.add_argument("--side", type=int, default=128, help="pixels of a picture on the sheet (%(default)s)")
    return parser


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Draw a sheet for each config.

    Raises:
        UsageError: a config or an override that does not fit.
    """
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.configs.split(","):
        unused = [f"out={args.out}/unused-{name}"]  # nothing is written there
        given, *rows = columns(name, [*overrides, *unused], args.records, args.seed)
        others = [columns(name, [*overrides, *unused, *more.split()], args.records, args.seed) for more in args.beside]
        path = args.out / f"{Path(name).stem}.png"
        sheet([given, *(other[1] for other in others), *rows], args.side).save(path, optimize=True)
        print(path, file=sys.stderr)


if __name__ == "__main__":
    configured(parser(), run)
