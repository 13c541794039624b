"""Calls of a diffusers pipeline that answer one question each: its levels, its end, its network's output."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from functools import wraps
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from fcs.core.autocast import ROUNDED, is_off
from fcs.core.errors import UsageError, first_line
from fcs.core.levels import Level
from fcs.core.products import Products
from fcs.models.guidance_argument import GuidanceArgument
from fcs.models.inverted_scheduler import Answer, Question, inverted
from fcs.models.picture_cache import PictureCache, without_noise
from fcs.models.pipeline_fit import hooked, networks, weights_type
from fcs.models.prompt_cache import PromptCache

CLEANERS = ("ftfy", "bs4")  # packages that a pipeline needs to clean a caption
PLACE = "_place_of_calls"
PROMPT = "a picture"  # where a question does not depend on it
# How pipelines read the pictures that they are given beside a prompt.
PICTURES = ("prepare_image", "prepare_control_image", "prepare_ip_adapter_image_embeds")
# What a picture of the model's size needs, where the pipeline has the argument.
PICTURE = {"use_resolution_binning": False, "num_frames": 1}


class PipelineCalls:
    """A copy of a pipeline that answers instead of sampling. Modules are shared, the original is left as it is.

    The pipeline's own ``__call__`` runs for each question, with everything in it: guidance, embedded conditions,
    offloading, LoRA. Only its latents, its scheduler and its decoder are ours; prompts are encoded once.

    Args:
        pipe: the pipeline.
        arguments: of its call, beside those that are set here.
        size: ``(height, width)`` of pictures; the pipeline's own if None.
    """

    def __init__(self, pipe: Any, arguments: Mapping[str, Any], size: Sequence[int] | None = None) -> None:
        self.pipe = _placed(pipe)
        self.parameters = inspect.signature(type(pipe).__call__).parameters
        self.scheduler = inverted(pipe.scheduler)
        defaults = PICTURE if all(map(find_spec, CLEANERS)) else {**PICTURE, "clean_caption": False}
        self.arguments = {name: value for name, value in defaults.items() if name in self.parameters} | dict(arguments)
        self.guidance = GuidanceArgument.of(self.pipe, self.parameters)
        self.guidance.check(arguments)
        if size is not None:
            self.arguments |= {"height": size[0], "width": size[1]}
        self._prepared: dict[str, Any] = {}
        self._latents: Tensor | None = None
        self._trusted = False
        self.waiting: list[nn.Module] = []
        kind = weights_type(next(iter(networks(pipe).values())))
        self.products = Products(kind) if kind in ROUNDED else None
        self._prepare = self.pipe.prepare_latents
        codec = copy(pipe.vae)
        encode = PictureCache(self._as_written(lambda *args, **kwargs: without_noise(pipe.vae.encode(*args, **kwargs))))
        codec.encode, codec.decode = encode, self._decode
        readers: dict[str, Any] = {
            name: PictureCache(self._as_written(getattr(self.pipe, name))) for name in PICTURES if hasattr(pipe, name)
        }
        if hasattr(pipe, "encode_prompt"):
            readers["encode_prompt"] = PromptCache(self._as_written(self.pipe.encode_prompt, fetch=True))
        self._caches = [encode, *readers.values()]
        replaced = {"scheduler": self.scheduler, "vae": codec, "prepare_latents": self._prepare_latents, **readers}
        for name, part in replaced.items():
            object.__setattr__(self.pipe, name, part)  # not the pipeline's own, which would change its configuration
        self.pipe.set_progress_bar_config(disable=True)

    @property
    def sequence_length(self) -> int | None:
        """Tokens that the call reads, where it has an argument for that; CLIP reads its own number."""
        parameter = self.parameters.get("max_sequence_length")
        length = self.arguments.get("max_sequence_length", parameter.default if parameter else None)
        return length if isinstance(length, int) else None

    def start(self) -> Tensor:
        """Latents ``(1, ...)`` as the pipeline would begin with: for shape, type and device."""
        (latents,) = self._ask(Question.START, None, 1)
        return latents

    def levels(self, steps: int) -> tuple[list[float], list[float] | None]:
        """The timesteps that the pipeline would visit with its scheduler, and its sigmas where it has any.

        Raises:
            UsageError: a number of steps that it does not take.
        """
        try:
            timesteps, sigmas = self._ask(Question.LEVELS, None, steps)
        except ValueError as error:
            expected = f"what {type(self.pipe).__name__} takes ({first_line(error)})"
            raise UsageError.of("steps", steps, expected) from error
        return timesteps.tolist(), None if sigmas is None else sigmas.tolist()

    def tail(self, latents: Tensor) -> Tensor:
        """What the pipeline hands to its decoder at the end, for latents ``(1, ...)`` after the last level."""
        try:
            (handed,) = self._ask(Question.TAIL, latents, 1)
        except UnboundLocalError:  # it decodes what its last step gave beside the latents, as LCM's does
            (handed,) = self._ask(Question.STEPPED_TAIL, latents, 1)
        return handed

    def output(self, latents: Tensor, level: Level, arguments: Mapping[str, Any]) -> Tensor:
        """The network's output ``(N, ...)``, guided, for ``latents`` ``(N, ...)`` at a level.

        Args:
            latents: as the pipeline's loop holds them.
            level: where they are.
            arguments: of the pipeline's call: prompts and guidance.
        """
        self.scheduler.level = level

        def asked(x: Tensor) -> tuple[Any, ...]:
            return self._ask(Question.OUTPUT, x, 1, arguments)

        out, sample = self.products.around(asked, latents, is_off()) if self.products else asked(latents)
        if not self._trusted:  # looked at once, since it waits for the device
            if sample.shape != latents.shape or not torch.equal(sample, latents.to(sample)):
                name = type(self.pipe).__name__
                raise UsageError.of("model", name, "a pipeline that takes latents to its loop as they are prepared")
            self._trusted = True
        return out

    def begin(self) -> None:
        """Look anew where the pipeline is, before a batch: whoever owns it may have moved it."""
        self.pipe.__dict__.pop(PLACE, None)

    def clear(self) -> None:
        """Forget what lies on a device."""
        self.begin()
        self._prepared.clear()
        for cache in self._caches:
            cache.clear()

    @torch.no_grad()
    def _ask(
        self, question: Question, latents: Tensor | None, steps: int, arguments: Mapping[str, Any] | None = None
    ) -> tuple[Any, ...]:
        self.scheduler.question, self._latents = question, latents
        unguided = {"prompt": [PROMPT], **self.guidance.arguments(1.0)}
        given = self.arguments | (unguided if arguments is None else dict(arguments))
        try:
            self.pipe(num_inference_steps=steps, **given)
        except Answer as answer:
            return answer.found
        finally:
            self._latents = None
        raise ValueError("the pipeline ended without a step of its scheduler, or without its decoder")

    def _as_written(self, encode: Callable[..., Any], fetch: bool = False) -> Callable[..., Any]:
        """Texts and pictures are read in the types of their encoders: nothing of them is differenced."""

        @wraps(encode)
        def alone(*args: Any, **kwargs: Any) -> Any:
            fetched = self._fetched() if fetch else nullcontext()
            with self.products.pause() if self.products else nullcontext(), fetched:
                return encode(*args, **kwargs)

        return alone

    @contextmanager
    def _fetched(self) -> Iterator[None]:
        """Text encoders that wait in the machine's memory, brought to the pipeline's device for a while."""
        for part in self.waiting:
            part.to(self.pipe._execution_device)
        try:
            yield
        finally:
            for part in self.waiting:
                part.to("cpu")

    def _prepare_latents(self, *args: Any, **kwargs: Any) -> Any:
        key = repr((args, kwargs))
        if key not in self._prepared:
            self._prepared.clear()
            with torch.random.fork_rng(devices=[]):
                self._prepared[key] = self._prepare(*args, **kwargs)
        made = self._prepared[key]
        first, rest = (made[0], made[1:]) if isinstance(made, tuple | list) else (made, None)
        if self.scheduler.question is Question.START:
            raise Answer(first)
        latents = first if self._latents is None else self._latents.to(first)
        return latents if rest is None else (latents, *rest)

    def _decode(self, latents: Tensor, *args: Any, **kwargs: Any) -> None:
        raise Answer(latents)


def _placed(pipe: Any) -> Any:
    """A copy of a pipeline that knows where it is. Pipelines look through all of their modules each time they ask.

    That costs several milliseconds a call, more than the network of a small model.
    """
    own = type(pipe)

    def place(self: Any) -> torch.device:
        if PLACE not in self.__dict__:
            # With text encoders that wait elsewhere, the network is where the pipeline is.
            (network, *_) = networks(pipe).values()
            own_place = next(network.parameters()).device
            self.__dict__[PLACE] = pipe._execution_device if hooked(pipe) else own_place
        found: torch.device = self.__dict__[PLACE]
        return found

    made = copy(pipe)
    made.__class__ = type(own.__name__, (own,), {"_execution_device": property(place), "device": property(place)})
    return made
