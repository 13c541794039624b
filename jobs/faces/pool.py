"""Many faces in two arrays, to train on: pictures drawn once in parallel and read from a memory map."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faces.attributes import ATTRIBUTES
from faces.draws import Split, draw_face, generator
from faces.render import SIZE, render

PART = 500  # faces that one task of a worker draws


def draw_pool(folder: Path, count: int, split: Split, seed: int, workers: int, size: int = SIZE) -> None:
    """Writes ``SPLIT.npy`` (count, size, size, 3) uint8 and ``SPLIT.labels.npy`` (count, attributes) uint8.

    Equal arguments give equal bytes whatever the number of workers; a file appears when it is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{split}.part.npy"
    pictures = np.lib.format.open_memmap(part, "w+", np.uint8, (count, size, size, 3))
    labels = np.zeros((count, len(ATTRIBUTES)), np.uint8)
    with ProcessPoolExecutor(workers) as pool:
        starts = range(0, count, PART)
        drawn = pool.map(partial(_draw_part, count=count, split=split, seed=seed, size=size), starts)
        for start, (some, classes) in zip(starts, drawn, strict=True):
            pictures[start : start + len(some)], labels[start : start + len(some)] = some, classes
    pictures.flush()
    np.save(folder / f"{split}.labels.npy", labels)
    part.replace(folder / f"{split}.npy")


def read_pool(folder: Path, split: Split) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures (as a memory map) and labels that ``draw_pool`` wrote."""
    return np.load(folder / f"{split}.npy", mmap_mode="r"), np.load(folder / f"{split}.labels.npy")


def _draw_part(
    start: int, *, count: int, split: Split, seed: int, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    faces = [draw_face(split, generator(seed, split, i)) for i in range(start, min(start + PART, count))]
    pictures = np.stack([render(face, size) for face in faces])
    return pictures, np.array([face.labels for face in faces], np.uint8)
