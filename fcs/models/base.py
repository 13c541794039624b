"""The interface of pretrained models: a denoiser, its noise levels, and a codec to pixels."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Self, get_args

import torch
from torch import Tensor, nn

from fcs.core.autocast import is_off
from fcs.core.denoiser import Denoiser, Guided
from fcs.core.errors import UsageError
from fcs.core.levels import Level, Spacing, ddpm_levels, flow_levels
from fcs.core.tf32 import with_tf32

WINDOWED = "only Stable Diffusion's network, of a folder or checkpoint, sees a large picture window by window"

# Said of prompts that a model ``truncates``; rows and metrics have it as ``truncated``.
TRUNCATED = "%s: the prompt is longer than the model's text encoder takes; its end was cut off (truncated)"

# Of a batch that the codec takes at once: 8 pictures of 512x512. An autoencoder's widest activations have 256 channels
# at the pictures' size, and at 2^31 entries some kernels of GPUs fail without a word
# (https://github.com/pytorch/pytorch/issues/141831).
PIXELS = 8 * 512 * 512


class Schedule:
    """The noise schedule that a network was trained with, read from a diffusers scheduler.

    Args:
        alphas_cumprod: ``(T,)`` products abar of a diffusion; None for a rectified flow.
        consistency: whether the network was distilled to jump to a picture from any level (diffusers' LCMScheduler);
            its levels are those that it was distilled at, each reached by noise that is all new.
    """

    def __init__(self, alphas_cumprod: Tensor | None, consistency: bool = False) -> None:
        self.alphas_cumprod = alphas_cumprod
        self.consistency = consistency

    def levels(self, steps: int, spacing: Spacing = "even") -> list[Level]:
        """Levels for sampling in ``steps`` steps.

        Raises:
            UsageError: a number of steps that the schedule does not have, an unknown spacing, or the paper's of a flow.
        """
        if spacing not in get_args(Spacing):
            raise UsageError.of("levels", spacing, " or ".join(get_args(Spacing)))
        if self.alphas_cumprod is None:
            if spacing == "paper":
                raise UsageError.of("levels", spacing, "even for a flow model (the paper's are a diffusion's)")
            return flow_levels(steps)
        if steps > len(self.alphas_cumprod):
            raise UsageError.of("steps", steps, f"1 to {len(self.alphas_cumprod)}")
        return ddpm_levels(self.alphas_cumprod, steps, spacing)

    def at(self, shape: Sequence[int]) -> Schedule:
        """The schedule for x_t of ``(C, h, w)``; the same unless it depends on the size."""
        return self


class Model(nn.Module, ABC):
    """A pretrained model, frozen.

    Attributes:
        denoiser: x_t to x_0.
        schedule: its noise levels.
        shape: ``(C, h, w)`` of x_t.
        picture_shape: ``(C, H, W)`` of the pictures it makes.
        factor: pixels along each side of one cell of x_t.
        prompted: whether it takes text.
        differentiable: whether gradients pass through the denoiser.
        windowed: whether its network may see large pictures window by window (``use_windows``).
        codec_rounds: whether encoding and decoding take TF32 on a GPU: as long as the network is in 16 bits.
        general: whether a family of its own goes before it where the files are also that one's.
    """

    prompted: bool = False
    differentiable: bool = True
    windowed: bool = False
    general: bool = False

    def __init__(
        self,
        denoiser: Denoiser,
        schedule: Schedule,
        shape: tuple[int, int, int],
        picture_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.schedule = schedule.at(shape)
        self.shape = shape
        self.picture_shape = picture_shape
        self.factor = picture_shape[1] // shape[1]
        self.codec_rounds = denoiser.autocast is not None

    @property
    def step(self) -> int | None:
        """What the sides of pictures must be multiples of, in pixels; None for a model of one size."""
        return None

    def at(self, height: int, width: int) -> Self:
        """The same weights for pictures of another size.

        Raises:
            UsageError: a size that the model cannot have.
        """
        if (height, width) != self.picture_shape[1:] and (self.step is None or height % self.step or width % self.step):
            expected = "the model's own" if self.step is None else f"multiples of {self.step}"
            raise UsageError.of("size", [height, width], expected)
        made = copy.copy(self)
        made.picture_shape = (self.picture_shape[0], height, width)
        made.shape = (self.shape[0], height // self.factor, width // self.factor)
        return made

    def use_windows(self, overlap: int) -> None:
        """Show the network windows of the size that it was trained at, and average what it makes of them.

        Args:
            overlap: pixels that two windows share at least.

        Raises:
            UsageError: a family without windows, or an overlap that is no less than a window.
        """
        raise UsageError.of("model.overlap", overlap, f"null: {WINDOWED}")

    @property
    def way(self) -> str:
        """How its network is run, in words."""
        return "the network alone"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @abstractmethod
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures ``(N, C, H, W)`` in [-1, 1] to the model's space ``(N, *shape)``, deterministically."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """The model's space ``(N, *shape)`` to pictures ``(N, C, H, W)``, nominally in [-1, 1]."""

    @abstractmethod
    def guided(self, prompts: Sequence[str], negative: str = "", scale: float = 1.0) -> Guided:
        """The denoiser bound to one prompt per sample.

        Args:
            prompts: one per sample; a model without text ignores them.
            negative: prompt of the other branch of guidance.
            scale: diffusers' guidance_scale; 1 is none.
        """

    def truncates(self, prompt: str) -> bool:
        """Whether the text encoder takes less than the whole of a prompt; False for a model without text."""
        return False

    def concat_cond(self, pictures: Tensor, generate: Tensor) -> Tensor | None:
        """Channels ``(N, K, h, w)`` that the network sees after those of x_t; None unless it was tuned for inpainting.

        Args:
            pictures: ``(N, C, H, W)`` in [-1, 1].
            generate: ``(N, 1, H, W)``, 1 = to be generated, 0 = given.
        """
        return None

    def by_codec(self, call: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """``call(x)`` of the codec's network, ``(N, *)`` to ``(N, *)``, not more at once than a GPU's kernels can take.

        How many pictures go together depends on their size alone. It takes TF32 on a GPU where the model's network is
        in 16 bits (``codec_rounds``) and this thread is.
        """
        rounds = self.codec_rounds and not is_off()
        _, height, width = self.picture_shape
        parts = torch.split(x, max(1, PIXELS // (height * width)))
        made = [with_tf32(call, part) if rounds else call(part) for part in parts]
        return made[0] if len(made) == 1 else torch.cat(made)

    def spare(self, slicing: bool, tiling: bool) -> None:
        """Encode and decode in less memory.

        Args:
            slicing: record by record, gradients through the decoder too; costs one more pass for these.
            tiling: pictures larger than the autoencoder was trained at in overlapping tiles, which changes them.
        """

    def compile_network(self, cuda_graphs: bool = False) -> None:
        """Compile the denoiser's network, as one graph, replayed as a CUDA graph if asked; parameters keep their names.

        Args:
            cuda_graphs: only where there is a GPU.
        """
        self.denoiser.compile_network(cuda_graphs)
