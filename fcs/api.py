"""The library from Python. ``apply`` does any task; the other calls are ``apply`` with one task and its defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from fcs.core.images import to_pil
from fcs.core.levels import Spacing
from fcs.core.operators.base import Operator
from fcs.core.records import Batch
from fcs.core.tf32 import no_tf32
from fcs.engine.python_inputs import Picture, as_list, batch_of, black
from fcs.metrics.image_scores import scores
from fcs.models import Model, find
from fcs.models import load as load_found
from fcs.samplers.base import Sampler
from fcs.samplers.ddim import DDIM
from fcs.samplers.inexact_newton import InexactNewton
from fcs.tasks.base import Task
from fcs.tasks.inpaint import Inpaint
from fcs.tasks.layers import FIELD, Layers
from fcs.tasks.pipeline import Pipeline
from fcs.tasks.restore import Error, Restore
from fcs.tasks.style import Style
from fcs.tasks.superres import Superres

SMALL_STEPS = (0.1,) * 10  # the paper's for measurements: ten moves of 0.1 a level


@dataclass(frozen=True)
class Pictures:
    """What a call made.

    Attributes:
        images: one picture an input, in order.
        metrics: per picture: seed, nfe, residual, and the scores that make sense for the task (None where one
            does not exist).
        further: what else a task makes, by name, one picture an input: ``layer1``, ``layer2`` and ``mask`` of layers.
    """

    images: list[Image.Image]
    metrics: list[dict[str, float | None]]
    further: dict[str, list[Image.Image]] = field(default_factory=dict)


def load(name: str, revision: str | None = None, device: str | None = None) -> Model:
    """Load a model by name.

    Args:
        name: an embedded model, a diffusers folder, a .safetensors checkpoint or a hub name.
        revision: commit, branch or tag of a hub name.
        device: torch's name of it; if left out, a GPU where there is one.

    Raises:
        UsageError: a name that is nothing, files in no known layout.
    """
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return load_found(find(name, revision)).to(place)


def apply(
    model: Model,
    task: Task,
    image: Picture | Sequence[Picture] | None = None,
    mask: Picture | Sequence[Picture] | None = None,
    prompt: str | Sequence[str] = "",
    seed: int | Sequence[int] = 0,
    steps: int = 20,
    sampler: Sampler | None = None,
    guidance: float = 1.0,
    negative_prompt: str = "",
    levels: Spacing = "even",
    guidance_stop: float = 1.0,
    extra: Sequence[Mapping[str, Any]] | None = None,
) -> Pictures:
    """Do any task, one of the library's or of your own.

    Args:
        model: from ``fcs.load``.
        task: what is wanted of each picture.
        image: PIL pictures or uint8 arrays ``(H, W)`` or ``(H, W, 3)`` of the size that the task asks for, one or
            several; read as a record's are (upright by EXIF, transparency on white, 16 bit to 8). A black one if left
            out, for a task that looks at none.
        mask: of the image's size, 0 to 255 or booleans; white (true) = generate, black = keep, grey = soft. One
            mask may serve all images.
        prompt: one text, or one an image.
        seed: of the first image, counting up, or one an image; a record's ``seed`` column reproduces it.
        steps: noise levels, 1 to 1000.
        sampler: the paper's inexact Newton if left out.
        guidance: diffusers' guidance_scale; 1 is none.
        negative_prompt: prompt of guidance's other branch.
        levels: spacing of the noise levels, ``even`` or ``paper``.
        guidance_stop: share of the levels that are guided, the noisiest first, 0 to 1.
        extra: what a record's JSON would hold, one an image.

    Raises:
        ValueError: no pictures, other than of the task's size and 8 bit, seeds outside 0 to 2^63 - 1, lists that do
            not match, a task without the mask that it needs, a picture that the task refuses.
        UsageError: what the task or the model cannot do (a ValueError too).
    """
    solver = Pipeline(model, task, sampler or InexactNewton(), steps, levels, guidance, negative_prompt, guidance_stop)
    if task.needs_mask and mask is None:
        raise ValueError(f"mask=None: expected one for task={type(task).__name__.lower()}")
    shape = task.input_shape(model)
    images = [black(shape)] if image is None else as_list(image)
    batch = batch_of(images, None if mask is None else as_list(mask), prompt, seed, extra, shape)
    task.prepare(model)
    with no_tf32():  # torch lets a GPU's convolutions round, which the paper's difference does not survive
        if solver.unmeasured:
            solver = solver.measured(solver.lengths())
        result = solver(batch.to(model.device))
    for slot, error in result.errors.items():
        raise ValueError(f"image {slot}: {error}")
    common = scores(result.images, task.reference(batch), batch.masks if task.needs_mask else None)
    rows = zip(batch.seeds, result.calls, result.residuals, common, result.scores or ({},) * len(common), strict=True)
    metrics: list[dict[str, float | None]] = [{"seed": s, "nfe": n, "residual": r, **a, **b} for s, n, r, a, b in rows]
    further = {name: list(map(to_pil, made)) for name, made in result.further.items()}
    return Pictures(list(map(to_pil, result.images)), metrics, further)


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
    guidance_stop: float = 1.0,
) -> Pictures:
    """Generate the white part of each mask.

    Args:
        image: pictures of the model's size.
        paste: put the given pixels back exactly.

    The other arguments and errors are those of ``apply``.
    """
    task, options = Inpaint(paste), (guidance, negative_prompt, levels, guidance_stop)
    return apply(model, task, image, mask, prompt, seed, steps, sampler, *options)


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
    error: Error = "decoder_gradient",
    guidance_stop: float = 1.0,
) -> Pictures:
    """Enlarge pictures to the model's size.

    Args:
        image: pictures of the model's size divided by ``scale``.
        scale: factor on each side, 2 or more.
        sampler: the paper's for this task (ten moves of 0.1 a level) if left out.
        error: how the error comes to a latent model's space: ``decoder_gradient`` or ``vae_newton``.

    The other arguments and errors are those of ``apply``.
    """
    task, options = Superres(scale, error=error), (guidance, negative_prompt, levels, guidance_stop)
    sampler = sampler or InexactNewton(step_sizes=SMALL_STEPS)
    return apply(model, task, image, None, prompt, seed, steps, sampler, *options)


def restore(
    model: Model,
    image: Picture | Sequence[Picture],
    operator: Operator,
    prompt: str | Sequence[str] = "",
    seed: int | Sequence[int] = 0,
    steps: int = 20,
    sampler: Sampler | None = None,
    guidance: float = 1.0,
    negative_prompt: str = "",
    levels: Spacing = "even",
    error: Error = "decoder_gradient",
    degrade: bool = False,
    guidance_stop: float = 1.0,
) -> Pictures:
    """Find the picture that an operator has turned into the given one.

    Args:
        image: what was measured; with ``degrade`` the truth, which is measured first and scored against.
        operator: one of ``fcs.core.operators``, or an object with the same methods.
        sampler: the paper's for such a task (ten moves of 0.1 a level) if left out.
        error: how the error comes to a latent model's space: ``decoder_gradient`` or ``vae_newton``.

    The other arguments and errors are those of ``apply``.
    """
    task, options = Restore(operator, degrade, error), (guidance, negative_prompt, levels, guidance_stop)
    sampler = sampler or InexactNewton(step_sizes=SMALL_STEPS)
    return apply(model, task, image, None, prompt, seed, steps, sampler, *options)


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
    mask: Picture | Sequence[Picture] | None = None,
    guidance_stop: float = 1.0,
) -> Pictures:
    """Generate each prompt in the style of a picture.

    Args:
        image: style pictures of the model's size, one or several.
        clip: whose features: an embedded model's, or a folder with a transformers CLIP.
        block: after which of its blocks they are taken.
        mask: its white part alone takes the style.

    The other arguments and errors are those of ``apply``.
    """
    task, options = Style(clip, block), (guidance, negative_prompt, levels, guidance_stop)
    return apply(model, task, image, mask, prompt, seed, steps, sampler, *options)


def layers(
    model: Model,
    image: Picture | Sequence[Picture],
    prompts: tuple[str, str] | Sequence[tuple[str, str]] | None = None,
    mask: Picture | Sequence[Picture] | None = None,
    seed: int | Sequence[int] = 0,
    steps: int = 20,
    sampler: Sampler | None = None,
    guidance: float = 1.0,
    negative_prompt: str = "",
    levels: Spacing = "even",
    task: Layers | None = None,
    guidance_stop: float = 1.0,
) -> Pictures:
    """Take pictures apart: two layers and a mask each, with ``image = mask layer1 + (1 - mask) layer2``.

    Args:
        image: pictures of the model's size, one or several.
        prompts: a text for each layer, one pair or one an image; none for a model without prompts.
        mask: where to begin, white = the first layer.
        task: rounds, samples and the other numbers; the defaults if left out.

    The other arguments and errors are those of ``apply``. The composition is in ``images``, the rest in ``further``.
    """
    images, options = as_list(image), (guidance, negative_prompt, levels, guidance_stop)
    if prompts and not model.prompted:
        raise ValueError(f"prompts={prompts}: expected none for a model without prompts")
    extra = None if prompts is None else [{FIELD: list(pair)} for pair in _pairs(prompts, len(images))]
    return apply(model, task or Layers(), images, mask, "", seed, steps, sampler, *options, extra)


def _pairs(prompts: tuple[str, str] | Sequence[tuple[str, str]], count: int) -> list[Sequence[str]]:
    single = bool(prompts) and isinstance(prompts[0], str)
    pairs: list[Sequence[str]] = [prompts] * count if single else list(prompts)  # type: ignore[list-item]
    if len(pairs) != count:
        raise ValueError(f"{count} images, {len(pairs)} pairs of prompts")
    return pairs


class Free(Inpaint):
    """All of the picture is to be made, so there is nothing to score it against."""

    def reference(self, batch: Batch) -> None:
        return None


def sample(
    model: Model,
    count: int = 1,
    prompt: str | Sequence[str] = "",
    seed: int | Sequence[int] = 0,
    steps: int = 20,
    guidance: float = 1.0,
    negative_prompt: str = "",
) -> Pictures:
    """Plain sampling without a constraint: ``count`` pictures, 1 or more, by DDIM. The rest as in ``apply``."""
    images, mask = [black(model.picture_shape)] * count, np.full(model.picture_shape[1:], 255, np.uint8)
    return apply(model, Free(), images, mask, prompt, seed, steps, DDIM(), guidance, negative_prompt)
