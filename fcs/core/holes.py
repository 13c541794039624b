"""Where a mask generates something: a few boxes, found in time that grows with the picture and not with the holes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
    there = _reduced(mask, cell)
    while (labels := _labels(there)).max(initial=-1) >= MOST:
        cell, there = 2 * cell, _reduced(there, 2)
    found = _boxes(mask, cell, labels)
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


def _reduced(there: NDArray[Any], cell: int) -> NDArray[np.bool_]:
    """Whether anything is in each square of so many rows and columns; those at the far edges may be cut."""
    rows, columns = (range(0, side, cell) for side in there.shape)
    strips = [there[row : row + cell].max(0) for row in rows]  # far faster than reduceat, which is left the small rest
    found: NDArray[np.bool_] = np.maximum.reduceat(np.array(strips).reshape(-1, there.shape[1]), columns, axis=1) > 0
    return found


def _boxes(mask: NDArray[np.uint8], cell: int, labels: NDArray[np.int64]) -> Boxes:
    """The exact boxes of what hangs together, ``(n, 4)``: only the outermost cells of each are looked at again.

    Args:
        mask: ``(H, W)``.
        cell: pixels along a cell.
        labels: of the cells, from 0; -1 where nothing is.
    """
    cells = np.argwhere(labels >= 0)  # (m, 2): row, column
    numbers, count = labels[labels >= 0], int(labels.max(initial=-1)) + 1
    found = np.empty((count, 4), np.int64)
    for axis in (0, 1):
        places, end = cells[:, axis], mask.shape[axis]
        first, last = np.full(count, end), np.zeros(count, np.int64)  # in cells
        np.minimum.at(first, numbers, places)
        np.maximum.at(last, numbers, places)
        least, behind = np.full(count, end), np.zeros(count, np.int64)  # in pixels
        at = places == first[numbers]
        np.minimum.at(least, numbers[at], places[at] * cell + _lines(mask, cell, cells[at], axis).argmax(1))
        at = places == last[numbers]
        empty = _lines(mask, cell, cells[at], axis)[:, ::-1].argmax(1)  # lines at the cell's end
        np.maximum.at(behind, numbers[at], (places[at] + 1) * cell - empty)
        found[:, 1 - axis], found[:, 3 - axis] = least, behind.clip(max=end)
    return found


def _lines(mask: NDArray[np.uint8], cell: int, cells: NDArray[np.int64], axis: int) -> NDArray[np.bool_]:
    """Which rows (axis 0) or columns (1) of some cells hold anything, ``(m, cell)``; the last is continued outside."""
    inside = cells[:, :, None] * cell + np.arange(cell)  # (m, 2, cell)
    rows, columns = inside[:, 0].clip(max=mask.shape[0] - 1), inside[:, 1].clip(max=mask.shape[1] - 1)
    found: NDArray[np.bool_] = mask[rows[:, :, None], columns[:, None, :]].any(2 - axis)
    return found


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
