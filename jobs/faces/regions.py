"""Where in a picture each attribute shows, and so what a mask leaves of it: determined, open, or in part.

Boxes are in the drawing's units (left, top, right, bottom), as python-avatars lays it out, and move with the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from faces.attributes import NAMES
from faces.draws import Placement
from faces.masks import fill

State = Literal["determined", "open", "part"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Region:
    """Where an attribute shows.

    ``extent`` is all that another class may change, whatever the other attributes; ``cores`` are parts of it, each of
    which alone tells all classes apart.
    """

    extent: tuple[Box, ...]
    cores: tuple[Box, ...]


REGIONS = {
    "hair": Region(((-2, -60, 266, 218),), ((-2, 0, 112, 214), (152, 0, 266, 214), (-2, 0, 266, 92))),
    "hair colour": Region(((-2, -60, 266, 218),), ((30, 10, 112, 100), (152, 10, 234, 100), (30, 10, 234, 68))),
    "skin": Region(((60, 36, 204, 200), (28, 160, 236, 300)), ((66, 60, 132, 180), (132, 60, 198, 180))),
    "brows": Region(((80, 78, 186, 110),), ((80, 78, 186, 110),)),
    "eyes": Region(((88, 94, 176, 129),), ((132, 94, 176, 129),)),
    "mouth": Region(((94, 136, 170, 184),), ((94, 140, 170, 182),)),
    "beard": Region(((66, 92, 198, 204),), ((84, 140, 180, 200),)),
    "accessory": Region(((60, 30, 204, 142),), ((60, 86, 132, 142),)),
    "clothes": Region(((26, 176, 238, 300),), ((26, 180, 132, 240), (132, 180, 238, 240))),
    "clothes colour": Region(((26, 176, 238, 300),), ((26, 180, 238, 240),)),
}


def states(mask: NDArray[np.uint8], placement: Placement) -> dict[str, State]:
    """What a mask, ``(size, size)`` with 255 where the picture is hidden, leaves of every attribute.

    ``determined``: a core is wholly shown. ``open``: the extent is wholly hidden, so what is shown says nothing and
    the attribute has its probabilities whatever the rest. ``part``: neither, and it is not judged.
    """
    return {name: _state(mask, REGIONS[name], placement) for name in NAMES}


def _state(mask: NDArray[np.uint8], region: Region, placement: Placement) -> State:
    size = len(mask)
    if any((mask[area(core, placement, size)] == 0).all() for core in region.cores):
        return "determined"
    if all((mask[spread(area(box, placement, size))] > 0).all() for box in region.extent):
        return "open"
    return "part"


def area(box: Box, placement: Placement, size: int) -> NDArray[np.bool_]:
    """The pixels of a box where it lies in the picture, ``(size, size)``."""
    left, top, right, bottom = box
    return fill(((left, top), (right, top), (right, bottom), (left, bottom)), placement, size) > 0


def spread(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels and those that touch them: bringing a picture down to its size spreads edges as far."""
    return np.asarray(Image.fromarray(pixels.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3))) > 0
