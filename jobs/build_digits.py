"""Digits of 16x16 pixels: the data that the embedded digits models learn, and the shards that the configs read.

Source: the handwritten digits bundled with scikit-learn (1797 pictures of 8x8, test part of the UCI "Optical
Recognition of Handwritten Digits" set, CC BY 4.0). The last 200 are held out of every training.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import webdataset as wds
from PIL import Image
from sklearn.datasets import load_digits

HELD_OUT = 200
SIDE = 16
MASKS = ("half", "box", "freeform")
TUNE = 50  # training digits to tune on
DESIGN = 200  # training digits, seen at a slant, to design on


def digits() -> tuple[np.ndarray, np.ndarray]:
    """All pictures ``(1797, 16, 16)`` uint8 and their classes ``(1797,)``, in scikit-learn's order."""
    data = load_digits()
    pictures = [Image.fromarray(np.uint8(image * 255 / 16)) for image in data.images]
    enlarged = [np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for picture in pictures]
    return np.stack(enlarged), data.target


def training_digits() -> tuple[np.ndarray, np.ndarray]:
    """Pictures and classes that training may see: all but the last 200."""
    pictures, classes = digits()
    return pictures[:-HELD_OUT], classes[:-HELD_OUT]


def held_out_digits() -> tuple[np.ndarray, np.ndarray]:
    """Pictures and classes that no training sees: the last 200."""
    pictures, classes = digits()
    return pictures[-HELD_OUT:], classes[-HELD_OUT:]


def slanted(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A digit ``(16, 16)`` uint8 turned, sheared, scaled and shifted a little: what a model may not know by heart.

    By up to 8 degrees, 7 %, 5 % and three eighths of a pixel, and sampled at 8x8 again as the digits were.
    """
    large = 4 * SIDE
    angle, scale, shear = np.deg2rad(rng.uniform(-8, 8)), rng.uniform(0.95, 1.05), rng.uniform(-0.07, 0.07)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, shear], [0, 1]]) / scale
    middle = np.array([large / 2, large / 2])
    offset = middle - matrix @ (middle + rng.uniform(-1.5, 1.5, 2))
    drawn = Image.fromarray(picture).resize((large, large), Image.Resampling.BICUBIC)
    entries = (*matrix[0], offset[0], *matrix[1], offset[1])
    drawn = drawn.transform((large, large), Image.Transform.AFFINE, entries, Image.Resampling.BICUBIC)
    small = drawn.resize((SIDE // 2, SIDE // 2), Image.Resampling.BOX)
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def half_mask(rng: np.random.Generator) -> np.ndarray:
    """Right half to generate, ``(16, 16)`` uint8, white = generate."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, SIDE // 2 :] = 255
    return mask


def box_mask(rng: np.random.Generator) -> np.ndarray:
    """A square of half the side (a quarter of the area) somewhere inside the picture."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    top, left = rng.integers(1, SIDE // 2, size=2)
    mask[top : top + SIDE // 2, left : left + SIDE // 2] = 255
    return mask


def freeform_mask(rng: np.random.Generator) -> np.ndarray:
    """Two random strokes, two to three pixels wide, that together cover at least a tenth of the picture."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    while (mask > 0).mean() < 0.1:
        for _ in range(2):
            _stroke(mask, rng)
    return mask


def _stroke(mask: np.ndarray, rng: np.random.Generator) -> None:
    row, column = rng.integers(2, SIDE - 2, size=2).astype(float)
    angle, width = rng.uniform(0, 2 * np.pi), int(rng.integers(2, 4))
    for _ in range(int(rng.integers(8, 14))):
        top, left = int(row), int(column)
        mask[top : top + width, left : left + width] = 255
        angle += rng.normal(0, 0.5)
        row = float(np.clip(row + np.sin(angle), 0, SIDE - width))
        column = float(np.clip(column + np.cos(angle), 0, SIDE - width))


MASK_MAKERS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "half": half_mask,
    "box": box_mask,
    "freeform": freeform_mask,
}


def png(array: np.ndarray) -> bytes:
    """PNG bytes of one ``(H, W)`` uint8 picture."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def records(
    kinds: list[str], numbers: list[int], training: bool = False, slant: bool = False
) -> Iterator[dict[str, Any]]:
    """One record per held-out (or training) digit number, its mask the kind at the same place of ``kinds``."""
    pictures, classes = training_digits() if training else held_out_digits()
    rng, angles = np.random.default_rng(0), np.random.default_rng(1)
    for number, kind in zip(numbers, kinds, strict=True):
        digit = number if training else 1797 - HELD_OUT + number
        facts = {"class": int(classes[number]), "digit": digit, "mask": kind}
        yield {
            "__key__": f"digit-{digit:04d}-{kind}" if training else f"digit-{number:03d}-{kind}",
            "png": png(slanted(pictures[number], angles) if slant else pictures[number]),
            "mask.png": png(MASK_MAKERS[kind](rng)),
            "json": json.dumps(facts).encode(),
        }


def write_shard(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Write a WebDataset shard whose bytes depend on its records alone; returns how many there are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = list(rows)
    with wds.TarWriter(str(path), mtime=0, user="fcs", group="fcs") as tar:
        for row in kept:
            tar.write(row)
    return len(kept)


def write_sets(folder: Path) -> dict[str, int]:
    """The sets ``unseen`` (all held-out digits), ``tune``, ``design`` and ``train``, each under each kind of mask.

    ``tune`` has some training digits, ``design`` more of them at a slant: a model knows training digits by heart, which
    flatters some settings. ``train`` has all, once: what KID and FID are taken against.
    """

    def spread(count: int) -> list[int]:
        return [round(place) for place in np.linspace(0, len(training_digits()[0]) - 1, count)]

    sizes: dict[str, int] = {}
    for kind in MASKS:
        end = ".tar" if kind == "half" else f"-{kind}.tar"
        sets = {
            "unseen": records([kind] * HELD_OUT, list(range(HELD_OUT))),
            "tune": records([kind] * TUNE, spread(TUNE), training=True),
            "design": records([kind] * DESIGN, spread(DESIGN), training=True, slant=True),
        }
        if kind == "half":  # what KID and FID are taken against, where masks do not count
            count = len(training_digits()[0])
            sets["train"] = records([kind] * count, list(range(count)), training=True)
        sizes |= {f"{name}{end}": write_shard(folder / f"{name}{end}", rows) for name, rows in sets.items()}
    (folder / "sizes.json").write_text(json.dumps(sizes, indent=1) + "\n")
    return sizes


def main() -> None:
    """Write ``mixed.tar`` (48 records, masks in turn) and ``half.tar`` (all 200, right half) into --out.

    With --full the sets that methods are compared, tuned and designed on instead.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("fcs/samples/digits"), help="folder for the shards that ship")
    parser.add_argument("--full", type=Path, help="folder for unseen, tune and design shards, which do not ship")
    args = parser.parse_args()
    if args.full:
        print(f"{args.full}: {write_sets(args.full)}")
        return
    out = args.out
    # Every fourth digit: the first 48 in a row would come from two writers only.
    spread = list(range(0, 4 * 48, 4))
    sizes = {
        "mixed.tar": write_shard(out / "mixed.tar", records([MASKS[i % 3] for i in range(48)], spread)),
        "half.tar": write_shard(out / "half.tar", records(["half"] * HELD_OUT, list(range(HELD_OUT)))),
    }
    (out / "sizes.json").write_text(json.dumps(sizes, indent=1) + "\n")
    print(f"{out}: {sizes}")


if __name__ == "__main__":
    main()
