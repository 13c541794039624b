"""Families of look-alikes, and a split that never cuts one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from emoji.glyphs import Glyph

SIZE = 20  # look-alikes are compared as thumbnails of this size
FloatArray = NDArray[np.float32]


def thumbnails(bitmaps: NDArray[np.uint8]) -> FloatArray:
    """Bitmaps (n, 136, 136, 4) as premultiplied RGB and alpha, (n, 4, 20, 20) in [0, 1]."""
    small = np.stack([np.asarray(Image.fromarray(b).resize((SIZE, SIZE), Image.Resampling.BOX)) for b in bitmaps])
    values = small.astype(np.float32) / np.float32(255)
    values[..., :3] *= values[..., 3:]
    return values.transpose(0, 3, 1, 2)


def distances(bitmaps: NDArray[np.uint8]) -> FloatArray:
    """Root mean square difference of every pair, (n, n), the smaller of straight and mirrored.

    Each pair is compared in colour, and in lightness and alpha alone (a heart is a heart in any colour); the
    smaller counts. Both are means over the larger glyph's area, so small glyphs are not all alike.
    """
    colour = thumbnails(bitmaps)
    grey = np.stack([colour[:, :3].mean(1), colour[:, 3]], 1)
    area = colour[:, 3].mean((1, 2))
    area = np.maximum(np.maximum(area[:, None], area[None]), 0.05)
    best = np.minimum(_pairs(colour, colour), _pairs(colour, colour[..., ::-1]))
    plain = np.minimum(_pairs(grey, grey), _pairs(grey, grey[..., ::-1]))
    return np.sqrt(np.minimum(best, plain) / area)


def _pairs(a: FloatArray, b: FloatArray) -> FloatArray:
    """Mean squared difference of every pair, (n, n)."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    squared = (a**2).mean(1)[:, None] + (b**2).mean(1)[None] - 2 * (a @ b.T) / a.shape[1]
    return np.maximum(squared, 0).astype(np.float32)


def families(glyphs: list[Glyph], distance: FloatArray, threshold: float) -> NDArray[np.int64]:
    """Cluster number of each glyph: joined if within the threshold, through others too, or of one root."""
    roots = {glyph.root: i for i, glyph in enumerate(glyphs)}
    same_root = [roots[glyph.root] for glyph in glyphs]
    close = np.argwhere(distance < threshold)
    rows = np.concatenate([close[:, 0], np.arange(len(glyphs))])
    columns = np.concatenate([close[:, 1], same_root])
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=distance.shape)
    return connected_components(graph, directed=False)[1].astype(np.int64)


def held_out(clusters: NDArray[np.int64], share: float, least: int, seed: int) -> NDArray[np.bool_]:
    """Whole clusters drawn at random until `share` of the glyphs and `least` clusters are out, as (n,) flags.

    Families larger than a fiftieth of all glyphs (the faces) always train: without them there is no model.
    """
    numbers, sizes = np.unique(clusters, return_counts=True)
    candidates = np.random.default_rng(seed).permutation(numbers[sizes <= len(clusters) / 50])
    out = np.cumsum(sizes[candidates])
    count = max(least, int(np.searchsorted(out, share * len(clusters))) + 1)
    return np.isin(clusters, candidates[:count])
