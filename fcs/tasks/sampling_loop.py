"""From noise to x_0 for one batch; a task runs it once or several times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from fcs.core.constraints import Constraint
from fcs.core.denoise_wrappers import CallCounter, before_each_call
from fcs.core.denoiser import Denoise
from fcs.core.levels import Level
from fcs.core.per_sample import RecordNoise
from fcs.models.base import Model
from fcs.samplers.base import Sampler
from fcs.samplers.prior import Prior
from fcs.tasks.residual_trace import Preview


@dataclass(frozen=True, eq=False)
class SamplingLoop:
    """A batch's way down the noise levels, with the batch's own noise.

    Attributes:
        model: the pretrained model.
        sampler: the method.
        levels: noisiest first; the last is ``(alpha, sigma) = (1, 0)``.
        randn: the batch's noise, by sample.
        guidance: diffusers' guidance_scale; 1 is none.
        negative_prompt: prompt of guidance's other branch.
        guidance_stop: share of the levels that are guided, the noisiest first.
        watch: called before each denoiser call; may raise to cut the batch short.
        preview: told of x_0 at each level by tasks that sample once; may raise too.
        truncated: slots of which a prompt was longer than the model's text encoder takes.
    """

    model: Model
    sampler: Sampler
    levels: Sequence[Level]
    randn: RecordNoise
    guidance: float = 1.0
    negative_prompt: str = ""
    guidance_stop: float = 1.0
    watch: Callable[[], None] = lambda: None
    preview: Preview | None = None
    truncated: set[int] = field(default_factory=set, init=False)
    _counter: CallCounter = field(default_factory=CallCounter, init=False)

    @property
    def calls(self) -> int:
        """Denoiser calls until now, whatever the prompts; the two branches of guidance are one."""
        return self._counter.calls

    def denoiser(self, prompts: Sequence[str], concat_cond: Tensor | None = None) -> Prior:
        """``(x, level) -> x_0`` with one prompt per sample; its calls are counted.

        Args:
            prompts: one per sample.
            concat_cond: what the network of an inpainting model sees of the batch (``Model.concat_cond``).
        """
        longer = {prompt for prompt in set(prompts) if self.model.truncates(prompt)}
        self.truncated.update(slot for slot, prompt in enumerate(prompts) if prompt in longer)
        guided = self.model.guided(prompts, self.negative_prompt, self.guidance)
        guided = replace(guided, guided_above=self._guided_above)
        if concat_cond is not None:
            guided = replace(guided, concat_cond=concat_cond)
        wrappers = (self._counter, before_each_call(self.watch))
        return Prior(guided, self.model.encode, self.model.decode, wrappers)

    @property
    def _guided_above(self) -> float:
        """The t of the noisiest level without guidance; below every t where all levels are guided."""
        steps = len(self.levels) - 1
        first = round(self.guidance_stop * steps)
        return self.levels[first].t if first < steps else -1.0

    def sample(self, denoise: Denoise, constraint: Constraint) -> Tensor:
        """x_0 ``(N, *shape)`` from pure noise, by all levels."""
        first = self.levels[0]
        x = (first.noise_std or first.sigma) * self.randn(self.model.shape)
        return self.sampler(x, self.levels, denoise, constraint, self.randn)

    def guess(self, denoise: Denoise, constraint: Constraint, start: Tensor, depth: float) -> Tensor:
        """x_0 ``(N, *shape)`` from a noised ``start`` in one step of the sampler.

        Args:
            denoise: from ``denoiser``.
            constraint: what x_0 must satisfy.
            start: ``(N, *shape)``, x_0 as far as it is known.
            depth: share of the levels that the noise goes back, above 0 and up to 1.
        """
        steps = len(self.levels) - 1
        t = self.levels[steps - max(1, round(depth * steps))]
        x = t.alpha * start + t.sigma * self.randn(self.model.shape)
        return self.sampler(x, [t, self.levels[-1]], denoise, constraint, self.randn)
