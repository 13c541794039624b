"""Noise schedules, read from the configurations of diffusers' schedulers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fcs.core.denoiser import Predicts
from fcs.core.errors import UsageError
from fcs.models.base import Schedule

BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
PREDICTS: dict[str, Predicts] = {"epsilon": "eps", "v_prediction": "v"}


def schedule_of(config: Mapping[str, Any], name: str) -> tuple[Predicts, Schedule]:
    """What a network predicts, and its levels.

    Args:
        config: a diffusers scheduler's.
        name: of the model, for messages.

    Raises:
        UsageError: a scheduler of another prediction.
    """
    from diffusers import DDPMScheduler

    if config["_class_name"].startswith("FlowMatch"):
        return "flow", Schedule(None, config.get("shift", 1.0))
    consistency = config["_class_name"] == "LCMScheduler"
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTS:
        expected = f"a scheduler whose prediction_type is {' or '.join(PREDICTS)}, not {prediction}"
        raise UsageError.of("model.name", name, expected)
    betas = {key: config[key] for key in BETAS if config.get(key) is not None}
    return PREDICTS[prediction], Schedule(DDPMScheduler(**betas).alphas_cumprod, consistency=consistency)
