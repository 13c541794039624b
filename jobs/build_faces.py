"""Draws faces-64: cartoon faces whose attributes are independent, so that what a mask hides has a known distribution.

    python jobs/build_faces.py --out runs/faces/shards --split unseen --records 500        # shards to complete
    python jobs/build_faces.py --out runs/faces/data --pool --records 21000                # an array to train on
    python jobs/build_faces.py --out runs/faces/data --pool --records 4000 --split seen    # and one to judge on

`seen` are new draws of pairs of hair and accessory that are trained on, `unseen` draws of pairs that never are. A
record has KEY.png, KEY.mask.png (white = generate), KEY.txt, and KEY.json: the attributes, and which of them the mask
leaves determined, open or partly shown. The classes and their probabilities stand in jobs/faces/attributes.py. Equal
arguments give equal bytes whatever the number of workers; record i is the same in a longer job. Needs the extra `jobs`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import get_args

from faces.draws import SPLITS
from faces.masks import MASKS
from faces.pool import draw_pool
from faces.render import SIZE
from faces.shards import Caption, Order, write_shards
from training.interruption import exit_when_asked


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for shards or arrays")
    parser.add_argument("--records", type=int, default=500, help="how many (%(default)s)")
    parser.add_argument("--split", choices=SPLITS, default="train", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (%(default)s)")
    parser.add_argument("--size", type=int, default=SIZE, help="of the pictures in pixels (%(default)s)")
    parser.add_argument(
        "--mask", choices=(*MASKS, "mixed"), default="mixed", help="kind of masks (%(default)s: in turn)"
    )
    parser.add_argument("--caption", choices=get_args(Caption), default="some", help="attributes named (%(default)s)")
    parser.add_argument("--shard", type=int, default=500, help="records in a shard (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (%(default)s)")
    parser.add_argument("--pool", action="store_true", help="SPLIT.npy and SPLIT.labels.npy instead of shards")
    return parser.parse_args()


def main() -> None:
    """Draw what is asked for."""
    args = parse()
    exit_when_asked()  # the workers end too
    if args.pool:
        draw_pool(args.out, args.records, args.split, args.seed, args.workers, args.size)
        print(f"{args.out / args.split}.npy: {args.records} faces")
        return
    order = Order(args.split, args.mask, args.caption, args.seed, args.size)
    paths = write_shards(args.out, order, args.records, args.shard, args.workers)
    print(f"{args.out}: {args.records} records in {len(paths)} shards")


if __name__ == "__main__":
    main()
