"""What a denoiser's stage needs to know of its network: how it is made, told and held by a pipeline of diffusers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from diffusers import AutoencoderKL, DiffusionPipeline, ModelMixin, SchedulerMixin
from torch import Tensor

from faces.text import Text

Conditions = dict[str, Tensor]  # a network's arguments beside x_t and t
Reader = Callable[[list[str]], Conditions]


class Architecture(ABC):
    """A kind of network.

    Attributes:
        part: its name among a pipeline's parts.
        layout: the exported folder's, in words.
        network: its class.
    """

    part: str
    layout: str
    network: type[ModelMixin]

    @abstractmethod
    def new(self) -> ModelMixin:
        """The untrained network."""

    @abstractmethod
    def reader(self, network: ModelMixin, text: Text) -> Reader:
        """What turns captions into conditions, as the pipeline does; makes ``network`` ready to be trained on these."""

    @abstractmethod
    def pipeline(
        self, network: ModelMixin, vae: AutoencoderKL | None, text: Text, scheduler: SchedulerMixin | None
    ) -> DiffusionPipeline:
        """The trained parts in diffusers' terms."""
