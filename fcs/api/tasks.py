"""One call a task."""

from __future__ import annotations

from collections.abc import Sequence

from fcs.api.call import Pictures, apply, solve
from fcs.api.inputs import Picture, PythonInputs, as_list
from fcs.core.directions import Newton
from fcs.core.levels import Spacing
from fcs.core.operators.base import Operator
from fcs.models import Model
from fcs.samplers.base import Sampler
from fcs.samplers.inexact_newton import InexactNewton
from fcs.tasks.inpaint import Inpaint
from fcs.tasks.layers import FIELD, Layers
from fcs.tasks.pipeline import Pipeline
from fcs.tasks.restore import Error, Restore
from fcs.tasks.style import Style
from fcs.tasks.superres import Superres


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
    task = Inpaint(paste)
    return apply(
        model, task, image, mask, prompt, seed, steps, sampler, guidance, negative_prompt, levels, guidance_stop
    )


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
        scale: factor on each side.
        sampler: the paper's for this task (ten moves of 0.1 a level) if left out.
        error: how the error comes to a latent model's space: ``decoder_gradient`` or ``vae_newton``.

    The other arguments and errors are those of ``apply``.
    """
    task, sampler = Superres(scale, error=error), sampler or _ten_moves()
    return apply(
        model, task, image, None, prompt, seed, steps, sampler, guidance, negative_prompt, levels, guidance_stop
    )


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
    task, sampler = Restore(operator, degrade, error), sampler or _ten_moves()
    return apply(
        model, task, image, None, prompt, seed, steps, sampler, guidance, negative_prompt, levels, guidance_stop
    )


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
    task = Style(clip, block)
    return apply(
        model, task, image, mask, prompt, seed, steps, sampler, guidance, negative_prompt, levels, guidance_stop
    )


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
    images = as_list(image)
    extra = None if prompts is None else [{FIELD: list(pair)} for pair in _pairs(prompts, len(images))]
    if extra and not model.prompted:
        raise ValueError(f"prompts={prompts}: expected none for a model without prompts")
    solver = Pipeline(
        model, task or Layers(), sampler or InexactNewton(), steps, levels, guidance, negative_prompt, guidance_stop
    )
    return solve(solver, PythonInputs(images, None if mask is None else as_list(mask), "", seed, extra))


def _ten_moves() -> InexactNewton:
    return InexactNewton(Newton(), [0.1] * 10)


def _pairs(prompts: tuple[str, str] | Sequence[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    first = prompts[0] if prompts else ""
    pairs = [prompts] * count if isinstance(first, str) else list(prompts)
    if len(pairs) != count:
        raise ValueError(f"{count} images, {len(pairs)} pairs of prompts")
    return pairs  # type: ignore[return-value]
