"""The library from Python. ``apply`` does any task; the other calls are ``apply`` with one task and its defaults."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from fcs.core.autocast import AUTOCAST
from fcs.core.errors import UsageError
from fcs.core.levels import Spacing
from fcs.core.operators.base import Operator
from fcs.core.records import Batch
from fcs.engine import python_arguments as given
from fcs.engine.config.settings import Precision
from fcs.engine.python_arguments import answering
from fcs.engine.python_inputs import Picture, as_list, black, masks_of, records_of, say_notes
from fcs.engine.python_measurements import measurement, measurements, say_range
from fcs.engine.python_outputs import Callback, OutputType, as_output, preview_of, times
from fcs.engine.python_results import Pictures as Pictures
from fcs.engine.python_results import Resize, record_form, sampled
from fcs.engine.setting_warnings import warn_of_call
from fcs.models import Model, find
from fcs.models import load as load_found
from fcs.models.base import TRUNCATED
from fcs.models.from_memory import from_memory
from fcs.models.options import Offload, Options
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

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

Prompt: TypeAlias = str | Sequence[str | None] | None
Generators: TypeAlias = torch.Generator | Sequence[torch.Generator] | None
Seed: TypeAlias = int | Sequence[int | None] | Generators
log = logging.getLogger("fcs")
EVEN: Spacing = "even"
SMALL_STEPS = (0.1,) * 10  # the paper's for measurements: ten moves of 0.1 a level


@answering
def load(
    name: str | os.PathLike[str] | DiffusionPipeline,
    revision: str | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "32",
    variant: str | None = None,
    size: Sequence[int] | None = None,
    arguments: Mapping[str, Any] | None = None,
    lora: str | Sequence[str] = (),
    textual_inversion: str | Sequence[str] = (),
    offload: Offload = "none",
    compile: bool = False,
) -> Model:
    """Load a model by name, or take a pipeline that is loaded.

    Args:
        name: an embedded model, a diffusers folder, a .safetensors checkpoint or a hub name; or a diffusers
            text-to-image pipeline, which stays as it is: its types, its device, its offloading, its LoRA.
        revision: commit, branch or tag of a hub name.
        device: torch's name of it; if left out, a GPU where there is one.
        precision: arithmetic of the network: float32, fp16 or bf16; everything around it stays in float32, which
            ``model.half()`` would not leave.
        variant: of the weights' files, such as ``fp16`` for ``model.fp16.safetensors``.
        size: ``(height, width)`` of pictures, where a model can make others than its own.
        lora: LoRA files of a folder's pipeline, or hub names, each with ``@WEIGHT`` or without.
        textual_inversion: files of words whose embeddings were learnt, or hub names, each with ``@WORD`` or without.
        offload: what of a folder's pipeline waits in the machine's memory until the GPU needs it: ``none``, its
            ``text`` encoders, the ``model``'s parts, or ``sequential``, their layers one by one.
        arguments: of a pipeline's call, such as ``{"max_sequence_length": 256}``.
        compile: compile the network at its first call, which takes minutes; for many pictures of one size.

    Raises:
        UsageError: a name that is nothing, files in no known layout, a device that is not there, a pipeline that does
            not fit or does not have an argument.
    """
    if not isinstance(name, str | os.PathLike):
        of_files: dict[str, Any] = {"revision": revision, "variant": variant, "lora": lora or None}
        of_files |= {"compile": compile or None}
        of_files |= {"textual_inversion": textual_inversion or None, "offload": None if offload == "none" else offload}
        return _from_memory(name, size, arguments, of_files, device, precision)
    autocast = AUTOCAST[given.one_of("precision", str(precision), Precision)]
    place = given.device_of(device)
    loras, words = ((one,) if isinstance(one, str) else tuple(one) for one in (lora, textual_inversion))
    options = Options(size, arguments or {}, loras, words, given.one_of("offload", offload, Offload))
    model = load_found(find(os.fspath(name), revision, variant), autocast, options).to(place)
    if model.device.type == "cuda":
        model.denoiser.to_channels_last()
    if compile:
        model.compile_network()
    return model


def _from_memory(
    pipe: Any,
    size: Sequence[int] | None,
    arguments: Mapping[str, Any] | None,
    of_files: Mapping[str, Any],
    device: str | torch.device | None,
    precision: Precision,
) -> Model:
    for key, value in {**of_files, "precision": None if precision == "32" else precision}.items():
        if value is not None:
            raise UsageError.of(key, value, "nothing beside a pipeline in memory, which is taken as it is")
    options = Options(size, arguments or {})
    model = from_memory(pipe, options.size, options.arguments)
    return model if device is None else model.to(given.device_of(device))


@answering
def apply(
    model: Model | DiffusionPipeline,
    task: Task | str,
    image: Picture | Sequence[Picture] | None = None,
    mask: Picture | Sequence[Picture] | None = None,
    prompt: Prompt = "",
    seed: Seed = 0,
    steps: int = 20,
    sampler: Sampler | str | None = None,
    guidance: float = 1.0,
    negative_prompt: str | None = "",
    levels: Spacing = "even",
    guidance_stop: float = 1.0,
    extra: Sequence[Mapping[str, Any]] | None = None,
    progress: bool = True,
    batch_size: int | None = None,
    num_images_per_prompt: int = 1,
    generator: Generators = None,
    output_type: OutputType = "pil",
    callback: Callback | None = None,
    resize: Resize = "none",
) -> Pictures:
    """Do any task, one of the library's or of your own.

    Args:
        model: from ``fcs.load``, or a diffusers pipeline.
        task: what is wanted of each picture: an object, or a configuration's short name.
        image: PIL pictures, arrays ``(H, W)`` or ``(H, W, 3)``, tensors ``(C, H, W)`` or paths, of the size that the
            task asks for, one or several; read as a record's are (docs/data.md). A black one if left out, for a task
            that looks at none.
        mask: of the image's size; white (true) = generate, black = keep, grey = soft. One mask may serve all images.
        prompt: one text, or one an image; None is an empty one.
        seed: of the first image, counting up, or one an image; a record's ``seed`` column reproduces it. None draws
            seeds, a ``torch.Generator`` does so reproducibly; ``metrics`` has them.
        steps: noise levels, 1 to 1000.
        sampler: an object, or a configuration's short name (``"dps"``) for one with its defaults; the paper's inexact
            Newton if left out.
        guidance: diffusers' guidance_scale; 1 is none.
        negative_prompt: prompt of guidance's other branch.
        levels: spacing of the noise levels, ``even`` or ``paper``.
        guidance_stop: share of the levels that are guided, the noisiest first, 0 to 1.
        extra: what a record's JSON would hold, one an image.
        progress: show a bar of network calls on standard error.
        batch_size: pictures, or crops of them, that are sampled at once; all pictures, or up to 16 crops, if left out.
        num_images_per_prompt: results for each image, one after the other; seeds count up over all of them.
        generator: what ``seed`` takes too, under diffusers' name; instead of it.
        output_type: ``pil``, ``np`` for a float32 array ``(N, H, W, C)`` in [0, 1], or ``pt`` for a tensor
            ``(N, C, H, W)`` in [0, 1]; a list of such where sizes differ.
        callback: called as ``callback(level, pictures)`` when a noise level is left, 0 being the noisiest, with x_0
            there as pictures (or crops) of the ``output_type``. What it raises ends the call.
        resize: what becomes of pictures of another size than the model's, as ``data.resize``: ``none`` refuses them,
            ``crop`` and ``pad`` bring them to its size, ``crop_to_mask`` cuts out what the mask asks for and completes
            the picture at its own size.

    Raises:
        ValueError: an argument of another type or out of range, which it names; no pictures, other than of the
            task's size and 8 bit, lists that do not match, a task without the mask that it needs, a picture that the
            task refuses.
        UsageError: what the task or the model cannot do (a ValueError too).
    """
    model, task = given.checked_model(model), given.chosen("task", task, Task)
    guided = (given.real("guidance", guidance), given.text("negative_prompt", negative_prompt))
    method = InexactNewton() if sampler is None else given.chosen("sampler", sampler, Sampler)
    share, kind = (
        given.real("guidance_stop", guidance_stop, most=1),
        given.one_of("output_type", output_type, OutputType),
    )
    pipeline = Pipeline(model, task, method, given.whole("steps", steps), levels, *guided, share)
    if task.needs_mask and mask is None:
        raise UsageError(f"mask=None: expected one for task={type(task).__name__.lower()}")
    task.check_fit(model.picture_shape, model.prompted)
    form = record_form(model, task, resize)
    wanted = task.measurement_shape(model)
    measured = None if wanted is None else measurements(image, wanted)
    blank = black((form.channels, form.height, form.width))
    if measured is not None:
        images: list[Picture] = [blank] * len(measured)
    else:
        images = [blank] if image is None else as_list(image)
    prompts, holes = given.texts("prompt", prompt), None if mask is None else masks_of(mask, len(images))
    each = given.whole("num_images_per_prompt", num_images_per_prompt)
    if each > 1:
        holes = holes if holes is None or len(holes) == 1 else times(holes, each)
        prompts = prompts if isinstance(prompts, str) else times(prompts, each)
        images, extra = times(images, each), None if extra is None else times(extra, each)
        measured = None if measured is None else times(measured, each)
    numbers = given.seeds(given.seed_or_generator(seed, generator), len(images))
    records = records_of(images, holes, prompts, numbers, extra, form, measured)
    most = None if batch_size is None else given.whole("batch_size", batch_size)
    say_notes(records, task.needs_mask)
    warn_of_call(pipeline)
    task.prepare(model)
    made = sampled(pipeline, records, form, most, progress, preview_of(callback, model, task, kind))
    if any(row.get("truncated") for row in made.metrics):
        told = f"{sum(bool(row['truncated']) for row in made.metrics)} of {len(images)} images"
        log.warning(TRUNCATED, told)
    further = {name: as_output(pictures, kind) for name, pictures in made.further.items()}
    return replace(made, images=as_output(made.images, kind), further=further)


@answering
def inpaint(
    model: Model | DiffusionPipeline,
    image: Picture | Sequence[Picture],
    mask: Picture | Sequence[Picture],
    prompt: Prompt = "",
    seed: Seed = 0,
    steps: int = 20,
    sampler: Sampler | str | None = None,
    guidance: float = 1.0,
    negative_prompt: str | None = "",
    levels: Spacing = "even",
    paste: bool = True,
    guidance_stop: float = 1.0,
    progress: bool = True,
    batch_size: int | None = None,
    num_images_per_prompt: int = 1,
    generator: Generators = None,
    output_type: OutputType = "pil",
    callback: Callback | None = None,
    resize: Resize = "none",
    margin: float = 0.25,
) -> Pictures:
    """Generate the white part of each mask.

    Args:
        image: pictures of the model's size, or of any with another ``resize``.
        paste: put the given pixels back exactly.
        margin: with ``resize="crop_to_mask"``, share of a crop's sides that is kept on each side of the hole.

    The other arguments and errors are those of ``apply``.
    """
    shared = (num_images_per_prompt, generator, output_type, callback)
    task = Inpaint(paste, margin=given.real("margin", margin))
    options = (guidance, negative_prompt, levels, guidance_stop, None, progress, batch_size, *shared, resize)
    return apply(model, task, image, mask, prompt, seed, steps, sampler, *options)


@answering
def superres(
    model: Model | DiffusionPipeline,
    image: Picture | Sequence[Picture],
    scale: int = 8,
    prompt: Prompt = "",
    seed: Seed = 0,
    steps: int = 20,
    sampler: Sampler | str | None = None,
    guidance: float = 1.0,
    negative_prompt: str | None = "",
    levels: Spacing = "even",
    error: Error = "decoder_gradient",
    guidance_stop: float = 1.0,
    progress: bool = True,
    batch_size: int | None = None,
    num_images_per_prompt: int = 1,
    generator: Generators = None,
    output_type: OutputType = "pil",
    callback: Callback | None = None,
) -> Pictures:
    """Enlarge pictures to the model's size.

    Args:
        image: pictures of the model's size divided by ``scale``.
        scale: factor on each side, 2 or more.
        sampler: the paper's for this task (ten moves of 0.1 a level) if left out.
        error: how the error comes to a latent model's space: ``decoder_gradient`` or ``vae_newton``.

    The other arguments and errors are those of ``apply``.
    """
    shared = (num_images_per_prompt, generator, output_type, callback)
    options = (guidance, negative_prompt, levels, guidance_stop)
    task = Superres(given.whole("scale", scale, 2), error=given.one_of("error", error, Error))
    sampler = InexactNewton(step_sizes=SMALL_STEPS) if sampler is None else sampler
    return apply(model, task, image, None, prompt, seed, steps, sampler, *options, None, progress, batch_size, *shared)


@answering
def restore(
    model: Model | DiffusionPipeline,
    image: Picture | Sequence[Picture],
    operator: Operator | str,
    prompt: Prompt = "",
    seed: Seed = 0,
    steps: int = 20,
    sampler: Sampler | str | None = None,
    guidance: float = 1.0,
    negative_prompt: str | None = "",
    levels: Spacing = "even",
    error: Error = "decoder_gradient",
    degrade: bool = False,
    guidance_stop: float = 1.0,
    progress: bool = True,
    batch_size: int | None = None,
    num_images_per_prompt: int = 1,
    generator: Generators = None,
    output_type: OutputType = "pil",
    callback: Callback | None = None,
) -> Pictures:
    """Find the picture that an operator has turned into the given one.

    Args:
        image: what was measured: pictures, or ``operator.A`` of pictures in [-1, 1] as a float tensor or array
            ``(N, ...)`` or the path of one (``.npy``, ``.pt``); with ``degrade`` the truth,
            which is measured first and scored against.
        operator: one of ``fcs.core.operators``, its name, or an object with the same methods.
        sampler: the paper's for such a task (ten moves of 0.1 a level) if left out.
        error: how the error comes to a latent model's space: ``decoder_gradient`` or ``vae_newton``.

    The other arguments and errors are those of ``apply``.
    """
    shared = (num_images_per_prompt, generator, output_type, callback)
    options = (guidance, negative_prompt, levels, guidance_stop)
    kind, way = given.chosen("operator", operator, Operator), given.one_of("error", error, Error)
    measured = None if degrade else measurement(image)
    task = Restore(kind, degrade, way, measurement="picture" if measured is None else "npy")
    if measured is not None:
        say_range(measured)
        image = measured
    sampler = InexactNewton(step_sizes=SMALL_STEPS) if sampler is None else sampler
    return apply(model, task, image, None, prompt, seed, steps, sampler, *options, None, progress, batch_size, *shared)


@answering
def style(
    model: Model | DiffusionPipeline,
    image: Picture | Sequence[Picture],
    prompt: Prompt = "",
    clip: str | os.PathLike[str] = "emoji-64",
    block: int = 3,
    seed: Seed = 0,
    steps: int = 20,
    sampler: Sampler | str | None = None,
    guidance: float = 2.0,
    negative_prompt: str | None = "",
    levels: Spacing = "even",
    mask: Picture | Sequence[Picture] | None = None,
    guidance_stop: float = 1.0,
    progress: bool = True,
    batch_size: int | None = None,
    num_images_per_prompt: int = 1,
    generator: Generators = None,
    output_type: OutputType = "pil",
    callback: Callback | None = None,
) -> Pictures:
    """Generate each prompt in the style of a picture.

    Args:
        image: style pictures of the model's size, one or several.
        clip: whose features: an embedded model's, or a folder with a transformers CLIP.
        block: after which of its blocks they are taken.
        mask: its white part alone takes the style.

    The other arguments and errors are those of ``apply``.
    """
    shared = (num_images_per_prompt, generator, output_type, callback)
    task, options = (
        Style(os.fspath(clip), given.whole("block", block)),
        (guidance, negative_prompt, levels, guidance_stop),
    )
    return apply(model, task, image, mask, prompt, seed, steps, sampler, *options, None, progress, batch_size, *shared)


@answering
def layers(
    model: Model | DiffusionPipeline,
    image: Picture | Sequence[Picture],
    prompts: tuple[str, str] | Sequence[tuple[str, str]] | None = None,
    mask: Picture | Sequence[Picture] | None = None,
    seed: Seed = 0,
    steps: int = 20,
    sampler: Sampler | str | None = None,
    guidance: float = 1.0,
    negative_prompt: str | None = "",
    levels: Spacing = "even",
    task: Layers | None = None,
    guidance_stop: float = 1.0,
    progress: bool = True,
    batch_size: int | None = None,
    num_images_per_prompt: int = 1,
    generator: Generators = None,
    output_type: OutputType = "pil",
    callback: Callback | None = None,
) -> Pictures:
    """Take pictures apart: two layers and a mask each, with ``image = mask layer1 + (1 - mask) layer2``.

    Args:
        image: pictures of the model's size, one or several.
        prompts: a text for each layer, one pair or one an image; none for a model without prompts.
        mask: where to begin, white = the first layer.
        task: rounds, samples and the other numbers; the defaults if left out.

    The other arguments and errors are those of ``apply``. The composition is in ``images``, the rest in ``further``.
    """
    shared = (num_images_per_prompt, generator, output_type, callback)
    images, options = as_list(image), (guidance, negative_prompt, levels, guidance_stop)
    model = given.checked_model(model)
    if prompts and not model.prompted:
        raise ValueError(f"prompts={prompts}: expected none for a model without prompts")
    extra = None if prompts is None else [{FIELD: list(pair)} for pair in _pairs(prompts, len(images))]
    return apply(
        model, task or Layers(), images, mask, "", seed, steps, sampler, *options, extra, progress, batch_size, *shared
    )


def _pairs(prompts: tuple[str, str] | Sequence[tuple[str, str]], count: int) -> list[Sequence[str]]:
    single = bool(prompts) and isinstance(prompts[0], str)
    pairs: list[Sequence[str]] = [prompts] * count if single else list(prompts)  # type: ignore[list-item]
    if isinstance(prompts, str) or any(isinstance(pair, str) for pair in pairs):  # one of two letters looks like a pair
        raise UsageError.of("prompts", prompts, "two texts, one a layer")
    if len(pairs) != count:
        raise ValueError(f"{count} images, {len(pairs)} pairs of prompts")
    return pairs


class Free(Inpaint):
    """All of the picture is to be made, so there is nothing to score it against."""

    def reference(self, batch: Batch) -> None:
        return None


@answering
def sample(
    model: Model | DiffusionPipeline,
    count: int = 1,
    prompt: Prompt = "",
    seed: Seed = 0,
    steps: int = 20,
    guidance: float = 1.0,
    negative_prompt: str | None = "",
    progress: bool = True,
    batch_size: int | None = None,
    num_images_per_prompt: int = 1,
    generator: Generators = None,
    output_type: OutputType = "pil",
    callback: Callback | None = None,
) -> Pictures:
    """Plain sampling without a constraint: ``count`` pictures, 1 or more, by DDIM. The rest as in ``apply``."""
    shared = (num_images_per_prompt, generator, output_type, callback)
    model, number = given.checked_model(model), given.whole("count", count)
    shape = model.picture_shape
    images, mask = [black(shape)] * number, np.full(shape[1:], 255, np.uint8)
    options = (guidance, negative_prompt, EVEN, 1.0, None, progress, batch_size, *shared)
    return apply(model, Free(), images, mask, prompt, seed, steps, DDIM(), *options)
