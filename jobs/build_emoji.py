"""Makes the emoji data: glyphs, a split by families of look-alikes, and the evaluation shards.

    python jobs/build_emoji.py --out runs/emoji/data         # what train_emoji.py reads, and full shards
    python jobs/build_emoji.py --out runs/emoji/data --samples fcs/samples/emoji    # and the small shards
    python jobs/build_emoji.py --out runs/emoji/data --only plain    # full shards without masks, for styles, alone

Needs the Debian package fonts-noto-color-emoji (SIL Open Font License), fontTools, and Pillow with Raqm.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from emoji.clusters import distances, families, held_out
from emoji.dataset import Dataset, Entry
from emoji.glyphs import FONT, Font, glyph_list
from emoji.shards import Mask, write_shard

MASKS: tuple[Mask, ...] = get_args(Mask)
FULL: dict[str, Sequence[Mask]] = {"seen": MASKS, "unseen": MASKS, "tune": MASKS}
FULL |= {"design": ("half", "box"), "train": ("plain",)}
SMALL: dict[str, Sequence[Mask]] = {"seen": ("half", "box", "plain"), "unseen": MASKS[:-1]}
TUNE = 50  # records to tune on
DESIGN = 200  # records to tell ideas for a method apart, which so few as to tune on do not


def build(font_file: Path, threshold: float, share: float, least: int, seed: int) -> Dataset:
    """Draws all glyphs, joins look-alikes to clusters and holds whole clusters out."""
    font = Font(font_file)
    glyphs = glyph_list(font)
    bitmaps = np.stack([font.draw(glyph.codepoints) for glyph in glyphs])
    distance = distances(bitmaps)
    clusters = families(glyphs, distance, threshold)
    out = held_out(clusters, share, least, seed)
    nearest = np.where(out, distance[:, ~out].min(1), 0)
    entries = [
        Entry(
            key=glyph.key,
            prompt=glyph.prompt,
            codepoints=glyph.codepoints,
            mirrors=glyph.mirrors,
            cluster=int(cluster),
            split="held-out" if is_out else "train",
            distance=round(float(gap), 4),
        )
        for glyph, cluster, is_out, gap in zip(glyphs, clusters, out, nearest, strict=True)
    ]
    return Dataset(entries, bitmaps, font.version)


def draw_records(dataset: Dataset, split: str, count: int, seed: int, skipped: int = 0) -> list[int]:
    """One random glyph from each of at most `count` random clusters of a split, after the first `skipped` of them."""
    generator = np.random.default_rng(seed)
    members: dict[int, list[int]] = {}
    for i, entry in enumerate(dataset.entries):
        if entry.split == split:
            members.setdefault(entry.cluster, []).append(i)
    clusters = generator.permutation(sorted(members))[skipped : skipped + count]
    return [int(generator.choice(members[int(cluster)])) for cluster in clusters]


def write_shards(dataset: Dataset, folder: Path, kinds: Mapping[str, Sequence[Mask]], count: int, seed: int) -> None:
    """Each set under its kinds of masks (`seen.tar` has the half one, `seen-plain.tar` none), and `sizes.json`.

    `seen`, `tune` and `design` have training glyphs in new renderings, of different clusters; `unseen` held-out ones;
    `train` all training glyphs, which KID and FID are taken against.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {
        "seen": draw_records(dataset, "train", count, seed),
        "unseen": draw_records(dataset, "held-out", count, seed),
        "tune": draw_records(dataset, "train", TUNE, seed, skipped=count),
        "design": draw_records(dataset, "train", DESIGN, seed, skipped=count + TUNE),
        "train": dataset.indices("train").tolist(),
    }
    listed = folder / "sizes.json"
    sizes = json.loads(listed.read_text()) if listed.exists() else {}  # other jobs' shards may lie there too
    for name, masks in kinds.items():
        for mask in masks:
            path = folder / (f"{name}.tar" if mask == "half" else f"{name}-{mask}.tar")
            sizes[path.name] = write_shard(path, dataset, chosen[name], mask, seed)
    listed.write_text(json.dumps(sizes, indent=1, sort_keys=True) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for glyphs.json, bitmaps.npz, shards/")
    parser.add_argument("--samples", type=Path, help="folder for small shards of --small records, that ship")
    parser.add_argument("--font", type=Path, default=FONT, help="NotoColorEmoji.ttf (default: %(default)s)")
    parser.add_argument("--threshold", type=float, default=0.20, help="distance that joins look-alikes (.20)")
    parser.add_argument("--share", type=float, default=0.15, help="share of the glyphs held out, at least (.15)")
    parser.add_argument("--least", type=int, default=210, help="clusters held out, at least (210)")
    parser.add_argument("--records", type=int, default=256, help="records in each full shard, at most (256)")
    parser.add_argument("--small", type=int, default=24, help="records in each small shard (24)")
    parser.add_argument("--seed", type=int, default=0, help="seed of split and renderings (0)")
    parser.add_argument("--only", choices=MASKS, help="full shards with this mask alone, of the glyphs in OUT already")
    args = parser.parse_args()
    if args.only:
        kinds = {name: [args.only] for name in FULL}
        write_shards(Dataset.load(args.out), args.out / "shards", kinds, args.records, args.seed)
        return
    dataset = build(args.font, args.threshold, args.share, args.least, args.seed)
    dataset.save(args.out)
    (args.out / "split.json").write_text(json.dumps(dataset.summary(), indent=1) + "\n")
    print(json.dumps(dataset.summary(), indent=1), file=sys.stderr)
    write_shards(dataset, args.out / "shards", FULL, args.records, args.seed)
    if args.samples:
        write_shards(dataset, args.samples, SMALL, args.small, args.seed + 1)


if __name__ == "__main__":
    main()
