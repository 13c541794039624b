"""Rectangles of pixels."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle of pixels; right and bottom are the first column and row behind it. It may leave the picture."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    def grown(self, pixels: int) -> Box:
        """Larger by so many pixels on all sides."""
        return Box(self.left - pixels, self.top - pixels, self.right + pixels, self.bottom + pixels)

    def shared(self, other: Box) -> Box:
        """What lies in both; of negative sides where nothing does."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        return Box(left, top, min(self.right, other.right), min(self.bottom, other.bottom))

    def seen_from(self, other: Box) -> Box:
        """The same rectangle, counted from the upper left corner of another."""
        return Box(self.left - other.left, self.top - other.top, self.right - other.left, self.bottom - other.top)

    def scaled(self, factor: int) -> Box:
        """The same rectangle of a picture that is enlarged by a whole factor."""
        return Box(*(factor * side for side in self))

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of it in an array ``(H, W)`` that it lies in."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def whole(width: int, height: int) -> Box:
    """All of a picture."""
    return Box(0, 0, width, height)
