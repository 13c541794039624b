"""The one call under all others: any task on pictures from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from fcs.api.inputs import Picture, PythonInputs, as_list
from fcs.core.images import to_pil
from fcs.core.levels import Spacing
from fcs.core.tf32 import no_tf32
from fcs.metrics.image_scores import scores
from fcs.models import Model, find
from fcs.models import load as load_found
from fcs.samplers.base import Sampler
from fcs.samplers.ddim import DDIM
from fcs.samplers.inexact_newton import InexactNewton
from fcs.tasks.base import Task
from fcs.tasks.inpaint import Inpaint
from fcs.tasks.pipeline import Pipeline


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
        revision: of a hub name.
        device: torch's name of it; a GPU where there is one if left out.

    Raises:
        UsageError: a name that is nothing, files that are no known layout.
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
        steps: noise levels.
        sampler: the paper's inexact Newton if left out.
        guidance: diffusers' guidance_scale.
        negative_prompt: for guidance.
        levels: spacing of the noise levels.
        guidance_stop: share of the levels that are guided, the noisiest first.

    Raises:
        ValueError: no pictures, other than of the task's size and 8 bit, seeds outside 0 to 2^63 - 1, lists that do
            not match, a task without the mask that it needs, a picture that the task refuses.
        UsageError: what the task or the model cannot do (a ValueError too).
    """
    images = [_black(task.input_shape(model))] if image is None else as_list(image)
    inputs = PythonInputs(images, None if mask is None else as_list(mask), prompt, seed)
    solver = Pipeline(model, task, sampler or InexactNewton(), steps, levels, guidance, negative_prompt, guidance_stop)
    return solve(solver, inputs)


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
    _, height, width = model.picture_shape
    solver = Pipeline(model, Inpaint(), DDIM(), steps, "even", guidance, negative_prompt)
    images: list[Picture] = [_black(model.picture_shape)] * count
    return solve(solver, PythonInputs(images, [np.full((height, width), 255, np.uint8)], prompt, seed), scored=False)


def solve(solver: Pipeline, inputs: PythonInputs, scored: bool = True) -> Pictures:
    """The pictures of one batch; ``scored`` against the task's reference or not."""
    task, model = solver.task, solver.model
    if task.needs_mask and inputs.masks is None:
        raise ValueError(f"mask=None: expected one for task={type(task).__name__.lower()}")
    batch = inputs.batch(task.input_shape(model))
    task.prepare(model)
    with no_tf32():  # torch lets a GPU's convolutions round, which the paper's difference does not survive
        if solver.unmeasured:
            solver = solver.measured(solver.lengths())
        result = solver(batch.to(model.device))
    for slot, error in result.errors.items():
        raise ValueError(f"image {slot}: {error}")
    reference = task.reference(batch) if scored else None
    common = scores(result.images, reference, batch.masks if task.needs_mask else None)
    own = result.scores or ({},) * len(common)
    metrics: list[dict[str, float | None]] = [
        {"seed": s, "nfe": n, "residual": r, **a, **b}
        for s, n, r, a, b in zip(batch.seeds, result.calls, result.residuals, common, own, strict=True)
    ]
    further = {name: [to_pil(picture) for picture in made] for name, made in result.further.items()}
    return Pictures([to_pil(picture) for picture in result.images], metrics, further)


def _black(shape: tuple[int, int, int]) -> np.ndarray:
    channels, height, width = shape
    return np.zeros((height, width) if channels == 1 else (height, width, channels), np.uint8)
