"""Makes composed emoji whose layers are known, for the task `layers`: glyphs over a gradient, and over other glyphs.

    python jobs/build_layers.py --out runs/layers/data         # from runs/emoji/data, what build_emoji.py left there

Writes `gradient-seen.tar`, `gradient-unseen.tar`, `glyph-seen.tar`, `glyph-unseen.tar` and `sizes.json`: KEY.png the
composition, KEY.mask.png the true mask (white = layer 1, grey at its edge), KEY.json with the prompts of both
`layers`, KEY.txt that of the first. Unseen glyphs are those that emoji-64 was not trained on. Run them with
`task=layers task.truth=true`, which scores `iou`. The shard that ships, fcs/samples/emoji/layers.tar, is
`glyph-seen.tar` of `--records 24 --seed 1`.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from emoji.dataset import Dataset, Entry
from emoji.render import SIZE, Renderer, backgrounds, placements
from PIL import Image
from torch import Tensor

SMALLER = 1.5  # a glyph over another is reduced so that some of the other is seen


def draw(renderer: Renderer, index: int, shrink: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One placed glyph: premultiplied colour (3, 64, 64) and its alpha (1, 64, 64), both in [0, 1]."""
    glyph = renderer.bitmaps[[index]].float() / 255
    theta = shrink * placements(1, renderer.mirrors[[index]], generator)
    grid = F.affine_grid(theta, [1, 4, 2 * SIZE, 2 * SIZE], align_corners=False)
    placed = F.avg_pool2d(F.grid_sample(glyph, grid, align_corners=False), 2)[0]
    return placed[:3], placed[3:]


def composed(renderer: Renderer, front: int, behind: int | None, seed: int) -> tuple[Tensor, Tensor]:
    """Picture (3, 64, 64) and true mask (1, 64, 64) as uint8; behind the glyph is another one's picture or none's."""
    generator = torch.Generator().manual_seed(seed)
    colour, alpha = draw(renderer, front, 1.0 if behind is None else SMALLER, generator)
    back = backgrounds(1, generator)[0]
    if behind is not None:
        other, cover = draw(renderer, behind, 1.0, generator)
        back = other + (1 - cover) * back
    picture = (colour + (1 - alpha) * back).clamp(0, 1)
    return (picture * 255).round().byte(), (alpha * 255).round().byte()


def write(path: Path, dataset: Dataset, split: str, over_glyphs: bool, count: int, seed: int) -> int:
    """Writes one record a front glyph and returns their number; equal arguments give equal bytes."""
    rng = np.random.default_rng(seed)
    own = dataset.indices(split).numpy()
    fronts = rng.permutation(own)[:count]
    renderer = dataset.renderer()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for front in fronts:
            behind = int(rng.choice(own[own != front])) if over_glyphs else None
            picture, mask = composed(renderer, int(front), behind, 1_000_003 * (seed + 1) + int(front))
            _add_record(tar, dataset.entries[front], None if behind is None else dataset.entries[behind], picture, mask)
    return len(fronts)


def _add_record(tar: tarfile.TarFile, front: Entry, behind: Entry | None, picture: Tensor, mask: Tensor) -> None:
    key = f"{front.key}-over-{'gradient' if behind is None else behind.key}"
    about = {"layers": [front.prompt, "" if behind is None else behind.prompt]}
    members = {
        "png": _png(picture.permute(1, 2, 0)),
        "mask.png": _png(mask[0]),
        "txt": front.prompt.encode(),
        "json": json.dumps(about).encode(),
    }
    for suffix, data in members.items():
        info = tarfile.TarInfo(f"{key}.{suffix}")
        info.size, info.mode = len(data), 0o644
        tar.addfile(info, io.BytesIO(data))


def _png(pixels: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--data", type=Path, default=Path("runs/emoji/data"), help="glyphs (default: %(default)s)")
    parser.add_argument("--records", type=int, default=64, help="records in each shard, at most (64)")
    parser.add_argument("--seed", type=int, default=0, help="seed of choice and renderings (0)")
    args = parser.parse_args()
    dataset = Dataset.load(args.data)
    args.out.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for name, split in (("seen", "train"), ("unseen", "held-out")):
        for kind in ("gradient", "glyph"):
            path = args.out / f"{kind}-{name}.tar"
            sizes[path.name] = write(path, dataset, split, kind == "glyph", args.records, args.seed)
    (args.out / "sizes.json").write_text(json.dumps(sizes, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
