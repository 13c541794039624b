"""Where a mask generates something: a few boxes, found in time that grows with the picture and not with the holes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fcs.core.boxes import Box

GRID = 512  # cells along the longer side of a picture, at most: holes in neighbouring cells are one
MOST = 1000  # boxes of a picture; where there are more, cells become larger
APART = 16  # pixels between two boxes, at least; nearer ones are joined, so that what lies around each is its own
Boxes = NDArray[np.int64]  # (n, 4): left, top, right, bottom


def hole_boxes(mask: NDArray[np.uint8], cell: int, reach: int = 0) -> list[Box]:
    """Boxes that hold all that is not black, none nearer to another than ``APART``.

    Args:
        mask: ``(H, W)``.
        cell: pixels along a cell; holes in the same or in neighbouring cells get one box.
        reach: pixels by which boxes grow on all sides, inside the picture.
    """
    height, width = mask.shape
    cell = max(cell, -(-max(height, width) // GRID))
    found = _components(mask, cell)
    while len(found) > MOST:
        cell *= 2
        found = _components(mask, cell)
    found[:, :2] = (found[:, :2] - reach).clip(min=0)
    found[:, 2:] = np.minimum(found[:, 2:] + reach, (width, height))
    return joined(found, lambda one, others, _: _meet(one, others, APART))


def joined(boxes: Boxes | Sequence[Box], together: Callable[[Boxes, Boxes, Boxes], NDArray[np.bool_]]) -> list[Box]:
    """The boxes, two of them made one that holds both as long as there are two that belong together.

    Args:
        boxes: ``(n, 4)``.
        together: whether one box ``(4,)`` and each of others ``(n, 4)`` belong together; third, the boxes that they
            would be, ``(n, 4)``.
    """
    found = np.array(boxes, np.int64).reshape(-1, 4)
    count = -1
    while count != len(found):
        count, place = len(found), 0
        while place < len(found):
            one = found[place]
            both = np.concatenate([np.minimum(one[:2], found[:, :2]), np.maximum(one[2:], found[:, 2:])], axis=1)
            fits = together(one, found, both)
            fits[place] = False
            if fits.any():
                other = int(fits.argmax())
                found[place] = both[other]
                found = np.delete(found, other, axis=0)
                place -= other < place
            else:
                place += 1
    return [Box(*map(int, box)) for box in found]


def _meet(one: Boxes, others: Boxes, apart: int) -> NDArray[np.bool_]:
    gaps = np.maximum(one[:2] - others[:, 2:], others[:, :2] - one[2:])  # (n, 2), negative where they overlap
    meet: NDArray[np.bool_] = (gaps < apart).all(1)
    return meet


def _components(mask: NDArray[np.uint8], cell: int) -> Boxes:
    """The exact boxes of what hangs together in cells of so many pixels, corners too."""
    rows, columns = (np.arange(0, side, cell) for side in mask.shape)
    across = np.maximum.reduceat(mask, columns, axis=1) > 0  # (H, cells)
    along = np.maximum.reduceat(mask, rows, axis=0) > 0  # (cells, W)
    top, bottom = _ends(across, rows, 0)
    left, right = _ends(along, columns, 1)
    labels = _labels(bottom > 0)
    chosen, count = labels >= 0, int(labels.max(initial=-1)) + 1
    found = np.empty((count, 4), np.int64)
    for place, (values, least) in enumerate(((left, True), (top, True), (right, False), (bottom, False))):
        found[:, place] = mask.size if least else 0
        (np.minimum if least else np.maximum).at(found[:, place], labels[chosen], values[chosen])
    return found


def _ends(there: NDArray[np.bool_], starts: NDArray[np.intp], axis: int) -> tuple[Boxes, Boxes]:
    """First and behind the last place along an axis where something is, by cell; 0 behind where nothing is."""
    places = np.arange(there.shape[axis], dtype=np.int64).reshape((-1, 1) if axis == 0 else (1, -1))
    first = np.minimum.reduceat(np.where(there, places, there.size), starts, axis=axis)
    return first, np.maximum.reduceat(np.where(there, places + 1, 0), starts, axis=axis)


def _labels(there: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Numbers of what hangs together, corners too, from 0; -1 where nothing is. By runs of each row."""
    parents: list[int] = []
    labels = np.full(there.shape, -1, np.int64)
    above: list[tuple[int, int, int]] = []
    for y, row in enumerate(there):
        edges = np.flatnonzero(np.diff(row, prepend=False, append=False)).tolist()
        runs = []
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            number = len(parents)
            parents.append(number)
            labels[y, start:stop] = number
            runs.append((start, stop, number))
        _join(parents, above, runs)
        above = runs
    roots = np.array([_root(parents, number) for number in range(len(parents))], np.int64)
    numbers = np.unique(roots, return_inverse=True)[1].reshape(-1)
    labels[there] = numbers[labels[there]]
    return labels


def _join(parents: list[int], above: list[tuple[int, int, int]], runs: list[tuple[int, int, int]]) -> None:
    """Runs of two neighbouring rows that touch get one root."""
    place = 0
    for start, stop, number in runs:
        while place < len(above) and above[place][1] < start:
            place += 1
        for other in range(place, len(above)):
            if above[other][0] > stop:
                break
            parents[_root(parents, above[other][2])] = _root(parents, number)


def _root(parents: list[int], number: int) -> int:
    while parents[number] != number:
        parents[number] = parents[parents[number]]
        number = parents[number]
    return number
