"""Any text-to-image pipeline of diffusers as a model, by one adaptor: its own call answers for its network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from fcs.core.denoiser import Denoiser, Guided, Predicts, x0_from
from fcs.core.errors import UsageError, first_line
from fcs.core.levels import Level, Spacing
from fcs.models import pipeline_fit
from fcs.models.base import Schedule
from fcs.models.family import Family
from fcs.models.files import Found
from fcs.models.lora import add
from fcs.models.options import Offload, Options
from fcs.models.packing import Packing, learn
from fcs.models.pipeline_arguments import check_arguments
from fcs.models.pipeline_calls import PipelineCalls
from fcs.models.pipeline_folder import from_folder, pipeline_class
from fcs.models.schedules import jumps_of, levels_of, renewed
from fcs.models.textual_inversion import teach_pipeline
from fcs.models.token_limits import truncates

log = logging.getLogger("fcs")
PROBE = 8  # cells along a side of the latents that tell how many pixels a cell has


class Prompts(NamedTuple):
    """What a batch's network is conditioned on.

    Attributes:
        texts: one prompt a sample.
        negative: of the other branch of guidance.
        scale: of guidance; 1 is none.
    """

    texts: tuple[str, ...]
    negative: str
    scale: float


class PipelineSchedule(Schedule):
    """A pipeline's levels: of a flow or a consistency model, those that it would visit with its own scheduler."""

    def __init__(self, schedule: Schedule, calls: PipelineCalls) -> None:
        super().__init__(schedule.alphas_cumprod, schedule.consistency)
        self._calls = calls
        self._found: dict[int, list[Level]] = {}

    def levels(self, steps: int, spacing: Spacing = "even") -> list[Level]:
        plain = super().levels(steps, spacing)
        if spacing == "paper" or (self.alphas_cumprod is not None and not self.consistency):
            return plain
        if steps not in self._found:
            self._found[steps] = self._visited(steps)
        return self._found[steps]

    def _visited(self, steps: int) -> list[Level]:
        timesteps, sigmas = self._calls.levels(steps)
        if self.alphas_cumprod is not None:
            return jumps_of(timesteps, self.alphas_cumprod)
        levels = levels_of(timesteps, sigmas or ())
        return renewed(levels) if self.consistency else levels


class PipelineDenoiser(Denoiser):
    """A pipeline's network as ``x_t -> x_0``, asked through the pipeline's own call.

    Args:
        network: the pipeline's, for its weights.
        predicts: what its output is.
        calls: the pipeline.
        packing: how its loop holds latents.
    """

    def __init__(self, network: nn.Module, predicts: Predicts, calls: PipelineCalls, packing: Packing) -> None:
        super().__init__(network, predicts)
        self.autocast = None if calls.products is None else calls.products.kind
        self.calls = calls
        self.packing = packing

    def forward(self, x: Tensor, level: Level, cond: Any = None, concat_cond: Tensor | None = None) -> Tensor:
        """x_0 ``(N, C, h, w)``; ``cond`` are the batch's ``Prompts``."""
        out = self.calls.output(self.packing.pack(x), level, self._arguments(cond))
        return x0_from(self.packing.unpack(out).to(x.dtype), x, level, self.predicts)

    def to_channels_last(self) -> None:
        """Nothing: the network is the pipeline's, whose owner may want another layout."""

    def _arguments(self, cond: Prompts) -> dict[str, Any]:
        given: dict[str, Any] = {"prompt": list(cond.texts), **self.calls.guidance.arguments(cond.scale)}
        if cond.scale != 1.0 and "negative_prompt" in self.calls.parameters:
            given["negative_prompt"] = [cond.negative] * len(cond.texts)
        return given


@dataclass(frozen=True, eq=False)
class PipelineGuided(Guided):
    """A pipeline bound to a batch's prompts; guidance is the pipeline's own.

    Attributes:
        texts: one prompt a sample.
        negative: of the other branch of guidance.
    """

    texts: tuple[str, ...] = ()
    negative: str = ""

    def __post_init__(self) -> None:
        pass  # guided by texts, which all pipelines have

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        scale = self.scale if level.t > self.guided_above else 1.0
        return self.denoiser(x, level, Prompts(self.texts, self.negative, scale))


class DiffusersPipeline(Family):
    """A diffusers text-to-image pipeline: SDXL, SD 3, Flux, Qwen-Image, ... by what it does, without a table.

    Its network is only asked forwards, as the pipeline's own call asks it; nothing is differentiated. Its space is that
    of its decoder's latents, in the units that the network sees.

    Args:
        pipe: the pipeline; it is not changed.
        size: ``(height, width)`` of pictures; the pipeline's own if None.
        arguments: of its call, such as ``guidance_scale`` of a network that was distilled with it.
        offload: what of it waits in the machine's memory until it is used, once the model is moved to a GPU.

    Raises:
        UsageError: a pipeline that does not fit, arguments that it does not have, an ``offload`` that cannot be.
    """

    prompted = True
    differentiable = False
    layout = "the folder of a diffusers text-to-image pipeline"
    general = True
    vae: Any

    @classmethod
    def is_in(cls, found: Found) -> bool:
        return not found.is_file and pipeline_class(found) is not None

    @classmethod
    def load(cls, found: Found, autocast: torch.dtype | None, options: Options) -> Self:
        pipe = from_folder(found, autocast)
        add(pipe, options.lora)
        teach_pipeline(options.textual_inversion, pipe)
        return cls(pipe, options.size, options.arguments, options.offload)

    def __init__(
        self,
        pipe: Any,
        size: Sequence[int] | None = None,
        arguments: Mapping[str, Any] | None = None,
        offload: Offload = "none",
    ) -> None:
        pipeline_fit.check_fit(pipe)
        check_arguments(pipe, arguments or {})
        pipeline_fit.check_offload(pipe, offload)
        predicts, schedule = pipeline_fit.prediction(pipe)
        calls = PipelineCalls(pipe, arguments or {}, size)
        packing = _learnt(calls)
        vae = _codec(pipe)
        factor = _factor(vae, packing, calls.pipe._execution_device)
        shape = packing.shape
        picture = (3, shape[1] * factor, shape[2] * factor)
        if size is not None and picture[1:] != tuple(size):
            near = f"{picture[1]}, {picture[2]}"
            raise UsageError.of("model.size", list(size), f"a size that {type(pipe).__name__} makes, such as [{near}]")
        calls.arguments |= {"height": picture[1], "width": picture[2]}
        network = next(iter(pipeline_fit.networks(pipe).values()))
        denoiser = PipelineDenoiser(network, predicts, calls, packing)
        super().__init__(denoiser, PipelineSchedule(schedule, calls), shape, picture)
        self.pipe = pipe
        self.calls = calls
        self.packing = packing
        self.vae = vae
        self.hooked = pipeline_fit.hooked(pipe)
        self.offload = offload
        waiting = [] if self.hooked or offload != "text" else pipeline_fit.text_encoders(pipe)
        calls.waiting = waiting
        if not self.hooked:
            parts = pipeline_fit.modules(pipe).items()
            self.parts = nn.ModuleDict({name: part for name, part in parts if part not in waiting})
        self._follow()

    @property
    def way(self) -> str:
        return f"asked through the call of {type(self.calls.pipe).__name__}"

    @property
    def device(self) -> torch.device:
        place: torch.device = self.calls.pipe._execution_device
        return place

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DiffusersPipeline:
        self.calls.clear()
        place = fn(torch.zeros(0)).device
        if self.offload in ("model", "sequential") and not self.hooked and place.type != "cpu":
            pipeline_fit.offload(self.pipe, self.offload, place)
            self.hooked = True
        if not self.hooked:
            return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.packing._apply(fn)  # type: ignore[no-untyped-call]
        return self

    def _follow(self) -> None:
        """Bring what is ours to where the pipeline is now: whoever owns it may have moved it."""
        self.packing.to(self.device)
        if self.vae is not self.pipe.vae:
            self.vae.to(self.device)

    def compile_network(self, cuda_graphs: bool = False) -> None:
        """Nothing: what runs is the pipeline's call. Whoever has the pipeline in memory may compile its network."""
        log.info("compile: without effect on a network that is %s", self.way)

    def truncates(self, prompt: str) -> bool:
        return truncates(self.pipe, prompt, self.calls.sequence_length)

    def spare(self, slicing: bool, tiling: bool) -> None:
        for kind, wanted in (("slicing", slicing), ("tiling", tiling)):
            switch = getattr(self.vae, f"{'enable' if wanted else 'disable'}_{kind}", None)
            if switch is not None:
                switch()

    def encode(self, pictures: Tensor) -> Tensor:
        return self.by_codec(self._encoded, pictures)

    def _encoded(self, pictures: Tensor) -> Tensor:
        frames = pictures.to(_type(self.vae))
        found = self.vae.encode(frames.unsqueeze(2) if len(self.packing.decoded_shape) == 4 else frames)
        return self.packing.from_decoder(_latents(found).float())

    def decode(self, z: Tensor) -> Tensor:
        return self.by_codec(self._decoded, z)

    def _decoded(self, z: Tensor) -> Tensor:
        latents = self.packing.to_decoder(z).to(_type(self.vae))
        pictures: Tensor = self.vae.decode(latents, return_dict=False)[0]
        return (pictures[:, :, 0] if pictures.ndim == 5 else pictures).float()

    def guided(self, prompts: Sequence[str], negative: str = "", scale: float = 1.0) -> Guided:
        pipeline_fit.check_caches(self.calls.pipe)
        self.calls.begin()
        self._follow()
        if negative and scale != 1.0 and "negative_prompt" not in self.calls.parameters:
            name = type(self.calls.pipe).__name__
            raise UsageError.of("negative_prompt", negative, f"none: {name} takes no negative prompt")
        return PipelineGuided(self.denoiser, scale=scale, texts=tuple(prompts), negative=negative)


def _learnt(calls: PipelineCalls) -> Packing:
    name = type(calls.pipe).__name__
    try:
        return learn(calls.tail, calls.start())
    except UsageError:
        raise
    except Exception as error:  # the pipeline's own, of any kind: it was called as no one else calls it
        reason = f"{type(error).__name__}: {first_line(error)}"
        expected = f"a pipeline whose call can be followed from latents to its decoder ({reason})"
        raise UsageError.of("model", name, expected) from error


def _codec(pipe: Any) -> nn.Module:
    """The pipeline's autoencoder in float32; as it is where others decide about its weights."""
    vae: nn.Module = pipe.vae
    return vae if _type(vae).itemsize >= 4 or pipeline_fit.hooked(pipe) else deepcopy(vae).float()


def _type(vae: nn.Module) -> torch.dtype:
    return next(weights.dtype for weights in vae.parameters())


@torch.no_grad()
def _factor(vae: Any, packing: Packing, device: torch.device) -> int:
    """Pixels along each side of a cell of the latents."""
    shape = (1, *packing.decoded_shape[:-2], PROBE, PROBE)
    picture = vae.decode(torch.zeros(shape, dtype=_type(vae), device=device), return_dict=False)[0]
    return int(picture.shape[-1]) // PROBE


def _latents(encoded: Any) -> Tensor:
    """What an autoencoder encodes to, without noise: a posterior's mean, or the latents themselves."""
    if hasattr(encoded, "latent_dist"):
        mean: Tensor = encoded.latent_dist.mode()
        return mean
    latents: Tensor = encoded.latents if hasattr(encoded, "latents") else encoded.latent
    return latents
