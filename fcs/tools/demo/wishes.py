"""What a visitor of the page wants: a picture, a hole in it, and what to make of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from fcs.core.errors import UsageError
from fcs.core.package_files import PACKAGE
from fcs.core.pictures import read_picture
from fcs.shards.input.whole_tar import members_by_key

INPAINT, OUTPAINT, SUPERRES, STYLE = "inpaint", "outpaint", "superresolution", "style"
TASKS = (INPAINT, OUTPAINT, SUPERRES, STYLE)
PAINTED = "as painted"
HOLES = (PAINTED, "right half", "middle", "left half")  # those besides are there without a mouse
SCALE = 4  # of superresolution
LEAST_SHOWN = 448  # pixels: smaller pictures are shown enlarged by whole pixels
MOST_SHOWN = 1600  # pixels: of larger results a smaller picture is shown


class Controls(NamedTuple):
    """What the page asks, in the order in which it hands on the answers.

    Attributes:
        editor: what was painted on: gradio's ``background`` and ``layers`` as PIL pictures.
        hole: one of ``HOLES``.
        task: one of ``TASKS``.
        method: its name on the page.
        calls: denoiser calls at most.
        prompt: text; empty for models without.
        seed: of the noise; None for 0.
    """

    editor: dict[str, Any] | None
    hole: str
    task: str
    method: str
    calls: int
    prompt: str
    seed: float | None


class Shipped(NamedTuple):
    """A picture of the package's, and its prompt, which may be empty."""

    picture: Image.Image
    prompt: str


@dataclass(frozen=True)
class Wish:
    """One thing to make.

    Attributes:
        picture: RGB or L, of the model's size; for tasks with a hole of any size.
        hole: of the same size, L, white = generate; None for tasks without one.
        task, method, calls, prompt: as in ``Controls``.
        seed: of the noise.
    """

    picture: Image.Image
    hole: Image.Image | None
    task: str
    method: str
    calls: int
    prompt: str = ""
    seed: int = 0


def wish_of(shape: tuple[int, int, int], asked: Controls) -> Wish:
    """What the page's controls say, for a model with pictures ``(C, H, W)``.

    Raises:
        UsageError: no picture, or no hole where the task needs one.
    """
    if asked.editor is None or asked.editor.get("background") is None:
        raise UsageError("picture: expected one; choose or drop it")
    holed = asked.task in (INPAINT, OUTPAINT)
    given = (own_size if holed else fitted)(asked.editor["background"], shape)
    mask = None
    if asked.task == OUTPAINT:
        mask = around(given.size)
    elif holed:
        layers = asked.editor.get("layers") or []
        mask = painted(layers, given.size) if asked.hole == PAINTED else named_hole(asked.hole, given.size)
        if mask.getextrema() == (0, 0):
            raise UsageError("hole: expected one; paint over a part of the picture, or choose another hole")
    return Wish(given, mask, asked.task, asked.method, int(asked.calls), asked.prompt, int(asked.seed or 0))


def own_size(picture: Image.Image, shape: tuple[int, int, int]) -> Image.Image:
    """A picture as it is; one that ``shown`` enlarged from a model's size ``(C, H, W)`` has that again."""
    upright, _ = read_picture(picture, "L" if shape[0] == 1 else "RGB")
    small = fitted(upright, shape)
    return small if upright.tobytes() == shown(small).tobytes() else upright


def fitted(picture: Image.Image, shape: tuple[int, int, int]) -> Image.Image:
    """Any picture at a model's size ``(C, H, W)``: its middle, scaled; pixels that ``shown`` enlarged come back."""
    channels, height, width = shape
    upright, _ = read_picture(picture, "L" if channels == 1 else "RGB")
    return _scaled(_middle(upright, width / height), width, height)


def painted(layers: Sequence[Image.Image], size: tuple[int, int]) -> Image.Image:
    """The hole of what was painted upon a picture: all that any layer covers, wholly white.

    Args:
        layers: of one size, whose shape is the picture's.
        size: of the picture (width, height).
    """
    covered = [np.asarray(layer.convert("RGBA"))[..., 3] > 0 for layer in layers]
    if not covered:
        return Image.new("L", size)
    mask = Image.fromarray(np.any(covered, axis=0).astype(np.uint8) * 255)
    return _scaled(mask, *size).point(lambda value: 255 if value else 0)


def named_hole(name: str, size: tuple[int, int]) -> Image.Image:
    """A hole by its name, in a picture of a size (width, height)."""
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    if name == "right half":
        mask[:, width // 2 :] = 255
    elif name == "left half":
        mask[:, : width // 2] = 255
    else:
        mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = 255
    return Image.fromarray(mask)


def around(size: tuple[int, int]) -> Image.Image:
    """All but the middle: what outpainting makes."""
    return named_hole("middle", size).point(lambda value: 255 - value)


def shown(picture: Image.Image) -> Image.Image:
    """A picture to look at and to paint on: a small one enlarged by whole pixels."""
    factor = -(-LEAST_SHOWN // min(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def overview(picture: Image.Image) -> Image.Image:
    """A result to look at: a small one enlarged, a large one reduced."""
    factor = -(-max(picture.size) // MOST_SHOWN)
    return shown(picture) if factor == 1 else picture.reduce(factor)


def hidden(picture: Image.Image, hole: Image.Image) -> Image.Image:
    """The picture with grey in its hole, as the task sees it."""
    return Image.composite(Image.new(picture.mode, picture.size, "#808080"), picture, hole)


def shipped_pictures(model: str) -> dict[str, Shipped]:
    """Pictures of the package that an embedded model knows the like of, by prompt or key; faces for any other."""
    file = {"emoji": "emoji/unseen.tar", "digits": "digits/mixed.tar"}.get(model.partition("-")[0], "faces/half.tar")
    found: dict[str, Shipped] = {}
    for key, record in list(members_by_key(PACKAGE / "samples" / file).items())[:8]:
        prompt = record.get("txt", b"").decode()
        found[prompt or key] = Shipped(Image.open(io.BytesIO(record["png"])), prompt)
    return found


def _middle(picture: Image.Image, ratio: float) -> Image.Image:
    width, height = min(picture.width, round(picture.height * ratio)), min(picture.height, round(picture.width / ratio))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _scaled(picture: Image.Image, width: int, height: int) -> Image.Image:
    if picture.size == (width, height):
        return picture
    whole = picture.width % width == 0 and picture.height % height == 0
    return picture.resize((width, height), Image.Resampling.BOX if whole else Image.Resampling.LANCZOS)
