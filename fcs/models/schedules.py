"""Noise schedules, read from the configurations of diffusers' schedulers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fcs.core.denoiser import Predicts
from fcs.core.errors import UsageError
from fcs.core.levels import Level, Spacing
from fcs.models.base import Schedule

BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
PREDICTS: dict[str, Predicts] = {"epsilon": "eps", "v_prediction": "v"}
# Of a shift that depends on the size: tokens and shift of a small picture and of a large one, and diffusers' defaults.
SHIFTS = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}
CONSISTENCY = ("LCMScheduler", "FlowMatchLCMScheduler")
TOKEN = 4  # latent cells that the sizes of a dynamic shift count as one: 2x2


class FlowSchedule(Schedule):
    """A rectified flow's levels, even before its scheduler moves them: by a shift, one for the size, a last sigma.

    The even ones are ``1, 1 - 1/steps, ..., 1/steps``, as the pipelines of flows hand them to their schedulers. A
    scheduler left alone spends the last level next to the picture (sigma .001).

    Args:
        scheduler: diffusers', of a flow.
        tokens: of a picture, for a shift that depends on its size (``use_dynamic_shifting``).
    """

    def __init__(self, scheduler: Any, tokens: float = 0.0) -> None:
        super().__init__(None, consistency=type(scheduler).__name__ in CONSISTENCY)
        self._scheduler = scheduler
        self._tokens = tokens

    def at(self, shape: Sequence[int]) -> Schedule:
        return FlowSchedule(self._scheduler, shape[1] * shape[2] / TOKEN)

    def levels(self, steps: int, spacing: Spacing = "even") -> list[Level]:
        even = [level.sigma for level in super().levels(steps, spacing)[:-1]]
        takes = inspect.signature(self._scheduler.set_timesteps).parameters
        given: dict[str, Any] = {"mu": self._mu} if self._scheduler.config.get("use_dynamic_shifting") else {}
        # Others than FlowMatch... shift the even ones themselves, and would take what they are given as it is.
        moves = "sigmas" in takes and type(self._scheduler).__name__.startswith("FlowMatch")
        self._scheduler.set_timesteps(**({"sigmas": even} if moves else {"num_inference_steps": steps}), **given)
        found = levels_of(self._scheduler.timesteps.tolist(), self._scheduler.sigmas.tolist())
        return renewed(found) if self.consistency else found

    @property
    def _mu(self) -> float:
        """The shift for the size, linear in the number of tokens (Esser et al. 2024, as diffusers' pipelines do)."""
        low, high, least, most = (self._scheduler.config.get(name, value) for name, value in SHIFTS.items())
        return float(least + (most - least) * (self._tokens - low) / (high - low))


class ConsistencySchedule(Schedule):
    """Levels of a diffusion that was distilled to jump to a picture from a few dozen of them (Luo et al. 2023).

    Args:
        alphas_cumprod: ``(T,)`` products abar of the diffusion.
        scheduler: diffusers' LCMScheduler.
    """

    def __init__(self, alphas_cumprod: Tensor, scheduler: Any) -> None:
        super().__init__(alphas_cumprod, consistency=True)
        self._abar = alphas_cumprod
        self._scheduler = scheduler

    def levels(self, steps: int, spacing: Spacing = "even") -> list[Level]:
        plain = super().levels(steps, spacing)
        if spacing == "paper":
            return plain
        most = self._scheduler.config.original_inference_steps
        if steps > most:
            raise UsageError.of("steps", steps, f"1 to {most}, at which the network was distilled")
        self._scheduler.set_timesteps(steps)
        return jumps_of(self._scheduler.timesteps.tolist(), self._abar)


def jumps_of(timesteps: Sequence[float], alphas_cumprod: Tensor) -> list[Level]:
    """Levels of a consistency model at these times of its diffusion, and the clean picture."""
    abar = [alphas_cumprod[int(t)].item() for t in timesteps]
    visited = [Level(float(t), one**0.5, (1 - one) ** 0.5) for t, one in zip(timesteps, abar, strict=True)]
    return renewed([*visited, Level(0.0, 1.0, 0.0)])


def renewed(levels: Sequence[Level]) -> list[Level]:
    """The same levels, at each of which the noise is all new, as consistency models are sampled."""
    return [level._replace(noise_std=level.sigma) for level in levels]


def levels_of(timesteps: Sequence[float], sigmas: Sequence[float]) -> list[Level]:
    """A flow's levels where a scheduler visits these, and the clean picture; the repeated ones of Heun's once."""
    pairs = dict.fromkeys(zip(timesteps, sigmas, strict=False))
    return [Level(float(t), 1 - sigma, sigma) for t, sigma in pairs] + [Level(0.0, 1.0, 0.0)]


def schedule_of(config: Mapping[str, Any], name: str) -> tuple[Predicts, Schedule]:
    """What a network predicts, and its levels.

    Args:
        config: a diffusers scheduler's.
        name: of the model, for messages.

    Raises:
        UsageError: a scheduler of another prediction.
    """
    import diffusers

    kind = config["_class_name"]
    prediction = config.get("prediction_type", "epsilon")
    if kind.startswith("FlowMatch") or (prediction == "flow_prediction" and config.get("use_flow_sigmas")):
        own = getattr(diffusers, kind, None)
        if own is None:
            raise UsageError.of("model.name", name, f"a scheduler of this diffusers, not {kind}")
        return "flow", FlowSchedule(own.from_config(config))
    if prediction not in PREDICTS:
        expected = f"a scheduler whose prediction_type is {' or '.join(PREDICTS)}, not {prediction}"
        raise UsageError.of("model.name", name, expected)
    betas = {key: config[key] for key in BETAS if config.get(key) is not None}
    alphas_cumprod = diffusers.DDPMScheduler(**betas).alphas_cumprod
    if kind == "LCMScheduler":
        return PREDICTS[prediction], ConsistencySchedule(alphas_cumprod, diffusers.LCMScheduler.from_config(config))
    return PREDICTS[prediction], Schedule(alphas_cumprod)
