"""One batch from noise to pictures; the Lightning module and the Python calls share it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from fcs.core.autocast import no_autocast
from fcs.core.directions import Newton
from fcs.core.discovery import known_as
from fcs.core.errors import UsageError
from fcs.core.levels import Spacing
from fcs.core.per_sample import RecordNoise
from fcs.core.records import Batch, Result
from fcs.models.base import Model
from fcs.samplers.base import Sampler, forward_only
from fcs.tasks.base import Task
from fcs.tasks.half_precision import check_agreement, lengths, merged, rounds
from fcs.tasks.handed_on import as_given, with_given
from fcs.tasks.residual_trace import Preview
from fcs.tasks.sampling_loop import SamplingLoop


@dataclass(frozen=True)
class Pipeline:
    """Everything that a record's result depends on, besides the record and its seed.

    Attributes:
        model: the pretrained model.
        task: makes the constraint and the pictures.
        sampler: the method.
        steps: noise levels at which the network is asked.
        levels: their spacing.
        guidance: diffusers' guidance_scale; 1 is none.
        negative_prompt: prompt of guidance's other branch.
        guidance_stop: share of the levels that are guided, the noisiest first.

    Raises:
        UsageError: a share outside 0 to 1, a sampler that cannot work with the task's constraint, without prompts
            or with a network that is only asked forwards.
    """

    model: Model
    task: Task
    sampler: Sampler
    steps: int = 20
    levels: Spacing = "even"
    guidance: float = 1.0
    negative_prompt: str = ""
    guidance_stop: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.guidance_stop <= 1:
            raise UsageError.of("guidance_stop", self.guidance_stop, "0 to 1, the share of the levels")
        check_sampler(self.sampler, self.task, self.model.prompted)
        if not self.model.differentiable and self.sampler.backwards(self.steps):
            raise self._asks_backwards()

    def _asks_backwards(self) -> UsageError:
        """The error of a sampler that differentiates a network which cannot be; it may be its direction that does."""
        expected = f"one without backward passes, since {type(self.model).__name__} only asks its network forwards"
        direction = self.sampler.direction
        if direction is not None and direction.backwards:
            return UsageError.of("sampler.direction", known_as(type(direction)).lower(), f"{expected}: newton, local")
        names = ", ".join(forward_only())
        return UsageError.of("sampler", known_as(type(self.sampler)).lower(), f"{expected}: {names}")

    @property
    def automatic(self) -> Newton | None:
        """The sampler's Newton direction, where its difference is ``auto``."""
        direction = self.sampler.direction
        return direction if isinstance(direction, Newton) and direction.difference == "auto" else None

    @property
    def unmeasured(self) -> bool:
        """Whether the Newton direction is to measure its difference, for 16 bits or TF32, and has not."""
        direction = self.automatic
        return direction is not None and not direction.lengths and rounds(self.model)

    def lengths(self) -> dict[float, float]:
        """The perturbation lengths for ``measured``, measured on this device.

        Raises:
            UsageError: a network in which even these differences are rounded away.
        """
        levels = self.model.schedule.levels(self.steps, self.levels)
        found = lengths(self.model, levels, self.guidance, self.negative_prompt)
        if self.model.general and self.automatic is not None:
            direction = self.automatic.with_lengths(found)
            check_agreement(self.model, levels, direction, self.guidance, self.negative_prompt)
        return found

    def measured(self, found: Mapping[float, float]) -> Pipeline:
        """The same pipeline with the Newton direction's perturbations as measured."""
        if self.automatic is None:
            return self
        return replace(self, sampler=self.sampler.with_direction(self.automatic.with_lengths(found)))

    @torch.no_grad()
    def __call__(
        self, batch: Batch, watch: Callable[[], None] = lambda: None, preview: Preview | None = None
    ) -> Result:
        """Sample a batch; records that overflow in 16 bits are sampled again in float32.

        Where the task says that records are their own results, they are handed on. A batch of such alone costs nothing.

        Args:
            batch: its pictures on the model's device.
            watch: called before each denoiser call; may raise to cut the batch short.
            preview: told of x_0 at each level.
        """
        handed_on, valid = self.task.handed_on(batch), batch.valid
        if any(valid) and all(slot in handed_on for slot, counts in enumerate(valid) if counts):
            return as_given(batch)
        began = time.perf_counter()
        result = self._sampled(batch, watch, preview)
        overflowed = [slot for slot, counts in enumerate(valid) if counts and not result.finite[slot]]
        if overflowed and self.model.denoiser.autocast is not None:
            with no_autocast():
                result = merged(result, self._sampled(batch, watch, preview), overflowed)
        result = with_given(result, batch, handed_on)
        return replace(result, seconds=(time.perf_counter() - began) / max(sum(valid), 1))

    def _sampled(self, batch: Batch, watch: Callable[[], None], preview: Preview | None) -> Result:
        randn = RecordNoise(batch.seeds, self.model.device)
        levels = self.model.schedule.levels(self.steps, self.levels)
        guidance = (self.guidance, self.negative_prompt, self.guidance_stop)
        loop = SamplingLoop(self.model, self.sampler, levels, randn, *guidance, watch, preview)
        result = self.task.sample(batch, loop)
        return replace(result, truncated=tuple(sorted(loop.truncated)))


def check_sampler(sampler: Sampler, task: Task, prompted: bool) -> None:
    """Refuse a sampler that cannot work with the task's constraint, or with a model that is not ``prompted``.

    Raises:
        UsageError: it cannot.
    """
    name = known_as(type(sampler)).lower()
    if sampler.prompted and not prompted:
        raise UsageError.of("sampler", name, "a sampler for a model without prompts")
    if not issubclass(task.makes, sampler.needs):
        kind, called = sampler.needs.__name__, type(task).__name__.lower()
        raise UsageError.of("sampler", name, f"a sampler for task={called}; this one needs a constraint {kind}")
