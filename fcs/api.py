"""The library from Python: load a model, give it pictures, get pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcs.directions import Newton as NewtonDirection
from fcs.levels import Spacing
from fcs.metrics.pictures import scores
from fcs.models import Model, find
from fcs.models import load as load_found
from fcs.pictures import to_pil
from fcs.records import Batch, Record, collate
from fcs.samplers import DDIM, Newton, Sampler
from fcs.shards.decode import eight_bit
from fcs.solve import Solver
from fcs.tasks import Inpaint, Style, Superres

Picture: TypeAlias = Image.Image | np.ndarray


@dataclass(frozen=True)
class Pictures:
    """What a call made.

    Attributes:
        images: one picture an input, in order.
        metrics: per picture: seed, nfe, residual, and the scores that make sense for the task (None where one
            does not exist).
    """

    images: list[Image.Image]
    metrics: list[dict[str, float | None]]


def load(name: str, revision: str | None = None, device: str | None = None) -> Model:
    """Load a model by name.

    Args:
        name: an embedded model, a diffusers folder, a .safetensors checkpoint or a hub name.
        revision: of a hub name.
        device: torch's name of it; a GPU where there is one if left out.

    Raises:
        UsageError: a name that is nothing, files that are no known layout.
    """
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return load_found(find(name, revision)).to(place)


def inpaint(
    model: Model,
    image: Picture | Sequence[Picture],
    mask: Picture | Sequence[Picture],
    prompt: str | Sequence[str] = "",
    seed: int | Sequence[int] = 0,
    steps: int = 20,
    sampler: Sampler | None = None,
    guidance: float = 1.0,
    negative_prompt: str = "",
    levels: Spacing = "even",
    paste: bool = True,
) -> Pictures:
    """Generate the white part of each mask.

    Args:
        model: from ``fcs.load``.
        image: PIL pictures or uint8 arrays ``(H, W)`` or ``(H, W, 3)`` of the model's size, one or several; read as
            a record's are (upright by EXIF, transparency on white, 16 bit to 8).
        mask: of the image's size, 0 to 255 or booleans; white (true) = generate, black = keep, grey = soft. One
            mask may serve all images.
        prompt: one text, or one an image.
        seed: of the first image, counting up, or one an image; a record's ``seed`` column reproduces it.
        steps: noise levels.
        sampler: the paper's inexact Newton if left out.
        guidance: diffusers' guidance_scale.
        negative_prompt: for guidance.
        levels: spacing of the noise levels.
        paste: put the given pixels back exactly.

    Raises:
        ValueError: no pictures, other than of the model's size and 8 bit, seeds outside 0 to 2^63 - 1, or lists that
            do not match.
    """
    solver = Solver(
        model, Inpaint(paste), sampler or Newton(NewtonDirection()), steps, levels, guidance, negative_prompt
    )
    return _solve(solver, _as_list(image), _as_list(mask), prompt, seed)


def superres(
    model: Model,
    image: Picture | Sequence[Picture],
    scale: int = 8,
    prompt: str | Sequence[str] = "",
    seed: int | Sequence[int] = 0,
    steps: int = 20,
    sampler: Sampler | None = None,
    guidance: float = 1.0,
    negative_prompt: str = "",
    levels: Spacing = "even",
) -> Pictures:
    """Enlarge pictures to the model's size.

    Args:
        image: pictures of the model's size divided by ``scale``.
        scale: factor on each side.
        sampler: the paper's for this task (ten moves of 0.1 a level) if left out.

    The other arguments and errors are those of ``inpaint``.
    """
    sampler = sampler or Newton(NewtonDirection(), [0.1] * 10)
    solver = Solver(model, Superres(scale), sampler, steps, levels, guidance, negative_prompt)
    return _solve(solver, _as_list(image), None, prompt, seed)


def style(
    model: Model,
    image: Picture | Sequence[Picture],
    prompt: str | Sequence[str] = "",
    clip: str = "emoji-64",
    block: int = 3,
    seed: int | Sequence[int] = 0,
    steps: int = 20,
    sampler: Sampler | None = None,
    guidance: float = 2.0,
    negative_prompt: str = "",
    levels: Spacing = "even",
) -> Pictures:
    """Generate each prompt in the style of a picture.

    Args:
        image: style pictures of the model's size, one or several.
        clip: whose features: an embedded model's, or a folder with a transformers CLIP.
        block: after which of its blocks they are taken.

    The other arguments and errors are those of ``inpaint``.
    """
    solver = Solver(
        model, Style(clip, block), sampler or Newton(NewtonDirection()), steps, levels, guidance, negative_prompt
    )
    solver.task.prepare(model)
    return _solve(solver, _as_list(image), None, prompt, seed)


def sample(
    model: Model,
    count: int = 1,
    prompt: str | Sequence[str] = "",
    seed: int | Sequence[int] = 0,
    steps: int = 20,
    guidance: float = 1.0,
    negative_prompt: str = "",
) -> Pictures:
    """Plain sampling without a constraint: ``count`` pictures, 1 or more, by DDIM. The rest as in ``inpaint``."""
    channels, height, width = model.picture_shape
    grey = np.zeros((height, width) if channels == 1 else (height, width, channels), np.uint8)
    solver = Solver(model, Inpaint(), DDIM(), steps, "even", guidance, negative_prompt)
    return _solve(solver, [grey] * count, [np.full((height, width), 255, np.uint8)], prompt, seed, scored=False)


def _solve(
    solver: Solver,
    images: list[Picture],
    masks: list[Picture] | None,
    prompt: str | Sequence[str],
    seed: int | Sequence[int],
    scored: bool = True,
) -> Pictures:
    batch = _batch(solver, images, masks, prompt, seed)
    result = solver(batch.to(solver.model.device))
    reference = solver.task.reference(batch) if scored else None
    measured = scores(result.images, reference, batch.masks if masks else None)
    metrics: list[dict[str, float | None]] = [
        {"seed": s, "nfe": n, "residual": r, **m}
        for s, n, r, m in zip(batch.seeds, result.calls, result.residuals, measured, strict=True)
    ]
    return Pictures([to_pil(picture) for picture in result.images], metrics)


def _batch(
    solver: Solver,
    images: list[Picture],
    masks: list[Picture] | None,
    prompt: str | Sequence[str],
    seed: int | Sequence[int],
) -> Batch:
    count, shape = len(images), solver.task.input_shape(solver.model)
    prompts = [prompt] * count if isinstance(prompt, str) else list(prompt)
    seeds = [seed + i for i in range(count)] if isinstance(seed, int | np.integer) else list(seed)
    masks = [None] * count if masks is None else masks * count if len(masks) == 1 else masks
    if not count:
        raise ValueError("no images: expected one or more")
    if not len(prompts) == len(seeds) == len(masks) == count:
        raise ValueError(f"{count} images, {len(masks)} masks, {len(prompts)} prompts, {len(seeds)} seeds")
    records = [
        Record(
            i,
            str(i),
            _tensor(image, shape, "image"),
            None if mask is None else _tensor(mask, (1, *shape[1:]), "mask"),
            text,
            seed=_seed(number),
        )
        for i, (image, mask, text, number) in enumerate(zip(images, masks, prompts, seeds, strict=True))
    ]
    return collate("", 0, records, shape, 0)


def _seed(seed: int) -> int:
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed!r}: expected a whole number, 0 to 2^63 - 1")
    return int(seed)


def _as_list(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    return [pictures] if isinstance(pictures, Image.Image | np.ndarray) else list(pictures)


def _tensor(picture: Picture, shape: tuple[int, int, int], what: str) -> Tensor:
    """``(C, H, W)`` uint8 of the shape wanted."""
    pil = picture if isinstance(picture, Image.Image) else Image.fromarray(_checked(picture, what))
    pil = eight_bit(pil, "L" if shape[0] == 1 else "RGB", flat=what == "image")
    if (pil.height, pil.width) != shape[1:]:
        raise ValueError(f"{what} of {pil.width}x{pil.height} pixels: expected {shape[2]}x{shape[1]}")
    array = torch.from_numpy(np.array(pil))
    return array.unsqueeze(0) if shape[0] == 1 else array.permute(2, 0, 1).contiguous()


def _checked(array: np.ndarray, what: str) -> np.ndarray:
    """An array whose numbers mean what a picture's mean; another one would be sampled, but not as it was meant."""
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{what}={type(array).__name__}: expected a PIL picture or an array")
    if what == "mask" and array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(f"{what} of {array.dtype} {array.shape}: expected uint8 (H, W) or (H, W, 3)")
    if what == "mask" and array.max(initial=0) == 1:
        raise ValueError("mask of 0 and 1: expected 0 to 255, or booleans")
    return array
