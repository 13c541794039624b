"""Pictures of faces: python-avatars composes them, resvg draws them at twice the size, Lanczos brings them down."""

from __future__ import annotations

import io
import re
from math import cos, radians, sin

import numpy as np
import python_avatars as avatars
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from faces.attributes import ATTRIBUTES, Attribute
from faces.draws import Background, Face, Placement

SIZE = 64
UNITS = 280.0  # the drawing's height, which fills the picture at scale 1
CENTRE = (132.0, 124.0)  # of the picture, in the drawing
PARTS = {
    "top": avatars.HairType,
    "skin_color": avatars.SkinColor,
    "eyebrows": avatars.EyebrowType,
    "eyes": avatars.EyeType,
    "mouth": avatars.MouthType,
    "facial_hair": avatars.FacialHairType,
    "accessory": avatars.AccessoryType,
    "clothing": avatars.ClothingType,
    "clothing_color": avatars.ClothingColor,
}
# Lines of brows, eyes and mouths are 60 or 70 % opaque: at 64 px too pale to be told apart on dark skin.
PALE = re.compile(r'fill-opacity="0?\.[567]\d*"')


def render(face: Face, size: int = SIZE) -> NDArray[np.uint8]:
    """The picture of a face, ``(size, size, 3)`` uint8."""
    drawing = PALE.sub('fill-opacity="1"', compose(face.labels))
    large = 2 * size
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{large}" height="{large}" viewBox="0 0 {large} {large}">'
        f"{_gradient(face.background, large)}"
        f'<g transform="matrix({" ".join(f"{v:.6f}" for v in matrix(face.placement, large))})">{drawing}</g></svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, width=large, skip_system_fonts=True)
    with Image.open(io.BytesIO(bytes(png))) as picture:
        return np.asarray(picture.convert("RGB").resize((size, size), Image.Resampling.LANCZOS))


def compose(labels: tuple[int, ...]) -> str:
    """The SVG of a face with these classes; its beard has the hair's colour, its nose is always the same."""
    parts = {a.part: _member(a, label) for a, label in zip(ATTRIBUTES, labels, strict=True)}
    avatar = avatars.Avatar(
        style=avatars.AvatarStyle.TRANSPARENT,
        nose=avatars.NoseType.DEFAULT,
        facial_hair_color=parts["hair_color"],
        **parts,
    )
    return avatar.render()


def matrix(placement: Placement, size: int) -> tuple[float, float, float, float, float, float]:
    """SVG's matrix (a, b, c, d, e, f) from the drawing's units to pixels of a picture ``size`` wide."""
    zoom = placement.scale * size / UNITS
    a, b = zoom * cos(radians(placement.tilt)), zoom * sin(radians(placement.tilt))
    x, y = CENTRE[0] - placement.right, CENTRE[1] - placement.down
    return a, b, -b, a, size / 2 - a * x + b * y, size / 2 - b * x - a * y


def _member(attribute: Attribute, label: int) -> object:
    member = attribute.choices[label].member
    return member if member.startswith("#") else PARTS[attribute.part][member]


def _gradient(background: Background, size: int) -> str:
    x, y = (0.5 * f(radians(background.angle)) for f in (cos, sin))
    ends = f'x1="{0.5 - x:.4f}" y1="{0.5 - y:.4f}" x2="{0.5 + x:.4f}" y2="{0.5 + y:.4f}"'
    first, last = (f"rgb{colour}" for colour in (background.first, background.last))
    return (
        f'<linearGradient id="behind" {ends}><stop offset="0" stop-color="{first}"/>'
        f'<stop offset="1" stop-color="{last}"/></linearGradient>'
        f'<rect width="{size}" height="{size}" fill="url(#behind)"/>'
    )
