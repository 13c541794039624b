"""What a perfect sampler scores on faces: completions drawn from the known posterior itself.

    python jobs/exact_faces.py --data 'runs/faces/sets/half/*.tar' --seed 1 --records 500 --out runs/faces/exact/half

`--data` are shards that jobs/build_faces.py drew with `--seed`. Every record is completed --draws times: its classes
are drawn again from their probabilities until the face shows the same where the mask hides nothing. Writes what
`fcs-bench compare` would write of a method, so that jobs/posterior.py can hold others against it: OUT/compare.json and
the evaluations of two rows. `posterior` are the drawings themselves; `autoencoded` are they after the model's encoder
and decoder, so that what is lost there is no error of a sampler. Both are pasted and blended as the task does it. Needs
the extra `jobs`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from command import command
from faces.draws import SPLITS, Split, draw_face, generator
from faces.exact import Hidden
from faces.render import render
from numpy.typing import NDArray
from torch import Tensor

from fcs.bench.origin import origin, write_json
from fcs.bench.trial import FILE, Trial
from fcs.bench.truth import Truth
from fcs.core.errors import UsageError
from fcs.core.images import to_float, to_uint8
from fcs.models import Model, find, load
from fcs.tasks import Inpaint
from fcs.tools.cli.ends import Parser

CONFIG = "faces_inpaint"
BATCH = 50


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/exact_faces.py", __doc__)
    parser.add_argument("--data", required=True, help="glob of shards")
    parser.add_argument("--seed", type=int, required=True, help="that build_faces.py had")
    parser.add_argument("--records", type=int, required=True, help="how many, from the first")
    parser.add_argument("--draws", type=int, default=2, help="of each record (%(default)s)")
    parser.add_argument("--model", default="faces-64", help="whose autoencoder (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument("--out", type=Path, required=True)
    return parser


@dataclass(frozen=True)
class Shown:
    """A record as it was read.

    Attributes:
        name: ``shard/key``.
        split: that its classes were drawn from.
        picture: ``(size, size, 3)`` uint8.
        mask: ``(size, size)`` uint8.
    """

    name: str
    split: Split
    picture: NDArray[np.uint8]
    mask: NDArray[np.uint8]

    @property
    def index(self) -> int:
        """Which of the job's records it is: the number at the end of its key."""
        return int(self.name.rpartition("-")[2])

    def hidden(self, seed: int) -> Hidden:
        """The face with its classes, its place and what is behind it.

        Raises:
            UsageError: it was not drawn with this seed.
        """
        face = draw_face(self.split, generator(seed, self.split, self.index))
        if not (render(face, len(self.mask)) == self.picture).all():
            raise UsageError.of("--seed", seed, f"the one that {self.name} was drawn with by jobs/build_faces.py")
        return Hidden(face, self.picture, self.mask)


def shown(truth: Truth, data: str) -> Iterator[Shown]:
    """All records.

    Raises:
        UsageError: one that jobs/build_faces.py did not write.
    """
    for name, fact, picture, mask in zip(truth.names, truth.facts, truth.pictures, truth.masks, strict=True):
        split = fact.get("split")
        if split not in SPLITS or not name.rpartition("-")[2].isdecimal():
            raise UsageError.of("--data", data, f"shards that jobs/build_faces.py wrote, {name} is of others")
        yield Shown(name, split, picture.permute(1, 2, 0).numpy(), mask[0].numpy())


def drawn(record: Shown, seed: int, count: int) -> tuple[NDArray[np.uint8], int]:
    """Completions of one record, ``(count, size, size, 3)``, and how many were tried."""
    pictures, tried = record.hidden(seed).draws(count, np.random.default_rng((seed, record.index, 3)))
    return np.stack(pictures), tried


def autoencoded(model: Model, samples: Tensor) -> Tensor:
    """uint8 ``(S, N, C, H, W)`` after the encoder and the decoder."""
    batches = torch.split(samples.flatten(0, 1), BATCH)
    with torch.no_grad():
        return torch.cat([to_uint8(model.decode(model.encode(to_float(one)))) for one in batches]).view_as(samples)


def blended(task: Inpaint, samples: Tensor, truth: Truth) -> Tensor:
    """With the given pixels put back as the task does it."""
    return torch.stack([task.blend(one, truth.pictures, truth.masks) for one in samples])


def run(args: argparse.Namespace) -> None:
    """Draw, judge, write.

    Raises:
        UsageError: no shards, or of another seed.
    """
    asked = (f"data.shards={args.data}", f"data.limit={args.records}", f"model.name={args.model}")
    trial = Trial(CONFIG, asked, tuple(range(args.draws)), args.out)
    truth, task = trial.records(), trial.loaded[0].task
    assert isinstance(task, Inpaint)
    with ProcessPoolExecutor(args.workers) as pool:
        made = list(pool.map(partial(drawn, seed=args.seed, count=args.draws), shown(truth, args.data), chunksize=10))
    exact = torch.from_numpy(np.stack([pictures for pictures, _ in made], 1)).permute(0, 1, 4, 2, 3)
    tried = sum(tried for _, tried in made)
    print(f"{args.draws * len(made)} of {tried} faces that were drawn show what is shown")
    rows = {"posterior": exact, "autoencoded": autoencoded(load(find(args.model)), exact)}
    for name, samples in rows.items():
        report = {**origin(), **trial.what, **trial.judged(blended(task, samples, truth), truth)}
        write_json(args.out / f"{name}-0" / FILE, report)
        print(f"{name}: energy score {report['energy_own']['mean']:.4g}")
    cost = {"budget": 0, "calls": 0, "backwards": 0, "levels": 0, "seconds": 0.0, "setting": {}, "note": ""}
    found = [{"method": name, **cost} for name in rows]
    write_json(args.out / "compare.json", {**origin(), "model": args.model, "tried": tried, "rows": found})


if __name__ == "__main__":
    command(parser(), run)
