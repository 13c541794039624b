"""What other libraries call our settings: whoever types such a name is told ours."""

from __future__ import annotations

# Names of diffusers, Lightning, transformers and of the usual scripts, and the keys of a configuration that they mean.
KEYS = {
    "accelerator": "trainer.devices",
    "cfg_scale": "guidance",
    "ddim_steps": "steps",
    "dtype": "trainer.precision",
    "generator": "seed",
    "guidance_scale": "guidance",
    "image": "data.shards",
    "images": "data.shards",
    "input": "data.shards",
    "manual_seed": "seed",
    "n_steps": "steps",
    "num_inference_steps": "steps",
    "num_steps": "steps",
    "num_workers": "data.workers",
    "output": "out",
    "output_dir": "out",
    "output_type": "format",
    "pretrained_model_name_or_path": "model.name",
    "random_seed": "seed",
    "sampling_steps": "steps",
    "scheduler": "sampler",
    "timesteps": "steps",
    "torch_dtype": "trainer.precision",
    "unconditional_guidance_scale": "guidance",
}
# The same for the arguments of the calls from Python.
ARGUMENTS = {
    "accelerator": "device",
    "callback_on_step_end": "callback",
    "cfg_scale": "guidance",
    "ddim_steps": "steps",
    "disable_progress_bar": "progress",
    "dtype": "precision",
    "guidance_scale": "guidance",
    "images": "image",
    "init_image": "image",
    "input": "image",
    "manual_seed": "seed",
    "mask_image": "mask",
    "masks": "mask",
    "n_steps": "steps",
    "negative_prompts": "negative_prompt",
    "num_inference_steps": "steps",
    "num_samples": "num_images_per_prompt",
    "num_steps": "steps",
    "pretrained_model_name_or_path": "name",
    "random_seed": "seed",
    "sampling_steps": "steps",
    "scale_factor": "scale",
    "scheduler": "sampler",
    "show_progress": "progress",
    "timesteps": "steps",
    "torch_dtype": "precision",
}


def our_key(name: str) -> str | None:
    """The key that a foreign name means, whatever section it was put below; None for a name that is not known."""
    return KEYS.get(name.rpartition(".")[2].replace("-", "_").lower())
