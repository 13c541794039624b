"""From a name to a model: an embedded one, a diffusers folder, a single-file checkpoint or a hub name."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from fcs.core.errors import UsageError, first_line

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from fcs.core.denoiser import Predicts
    from fcs.models.base import Model, Schedule
    from fcs.models.stable_diffusion import StableDiffusion

EMBEDDED = Path(__file__).parent.parent / "weights"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# Only what sampling needs, and of the weights only safetensors without a variant.
HUB_FILES = ["model_index.json", "*/*.json", "*/merges.txt", "*/vocab.json"]
HUB_FILES += ["*/diffusion_pytorch_model.safetensors", "*/diffusion_pytorch_model-*-of-*.safetensors"]
HUB_FILES += ["*/model.safetensors", "*/model-*-of-*.safetensors"]
HASHED = (".safetensors", ".json", ".txt")
SINGLE_FILE_KEY = "model.diffusion_model.input_blocks.0.0.weight"  # in every Stable Diffusion checkpoint
UNLOADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)
PREDICTS: dict[str, Predicts] = {"epsilon": "eps", "v_prediction": "v"}


@dataclass(frozen=True)
class Found:
    """A model's files on disk.

    Attributes:
        name: as the user gave it.
        path: a diffusers folder or a single-file checkpoint.
        revision: the hub commit, None for what is not from a hub.
    """

    name: str
    path: Path
    revision: str | None = None

    @property
    def label(self) -> str:
        """The name for files that go elsewhere: a hub's or embedded one, or a path's last part."""
        return self.name if self.revision is not None else self.path.resolve().name

    def sha256(self) -> str:
        """Hash over all weights and what says how they are used (configs, schedule, tokens), by name and content."""
        parts = (path for path in self.path.glob("*/*") if path.suffix in HASHED)
        files = [self.path] if self.path.is_file() else sorted(parts)
        digest = hashlib.sha256()
        for file in files:
            digest.update(str(file.relative_to(self.path)).encode() + b"\0")
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()


def embedded() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in EMBEDDED.glob("*/model_index.json"))


def find(name: str, revision: str | None = None) -> Found:
    """The files of a model; fetches them only for a hub name.

    Raises:
        UsageError: a name that is none of the four kinds, without a network call; a hub name that cannot be fetched.
    """
    if name in embedded():
        return Found(name, EMBEDDED / name)
    # os.path answers where Path raises: for an unknown user's ~, for a name too long for the file system.
    path = Path(os.path.expanduser(name))
    if os.path.isfile(path / "model_index.json"):
        return Found(name, path)
    if os.path.isfile(path) and path.suffix == ".safetensors":
        return Found(name, path)
    if os.path.exists(path):
        raise UsageError.of("model.name", name, "a folder with model_index.json, or a .safetensors checkpoint")
    if HUB_NAME.fullmatch(name) and path.suffix != ".safetensors":
        return _fetch(name, revision)
    kinds = "an embedded model, a diffusers folder, a .safetensors checkpoint or a hub name with a /"
    raise UsageError.of("model.name", name, f"{kinds}; embedded: {', '.join(embedded())}", embedded())


def _fetch(name: str, revision: str | None) -> Found:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=HUB_FILES))
    except Exception as error:  # the client raises its own, httpx's and the file system's
        reason = f"{type(error).__name__}: {first_line(error)}"
        expected = f"a folder here or a model that the hub gives ({reason})"
        raise UsageError.of("model.name", name, expected) from error
    return Found(name, folder, folder.name)


def load(found: Found, autocast: torch.dtype | None = None) -> Model:
    """Load a model in float32, frozen, on the CPU.

    Args:
        autocast: type for the network's own arithmetic, None for float32.

    Raises:
        UsageError: files that are no model of a known layout.
    """
    try:
        loader = _load_single_file if found.path.is_file() else _loader(found)
        with _quiet():
            return loader(found, autocast).eval().requires_grad_(False)
    except UsageError:
        raise
    except UNLOADABLE as error:  # diffusers, transformers, safetensors: each raises its own
        raise UsageError.of("model.name", found.name, f"a model that loads ({first_line(error)})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries' own log held back: what they say of a broken model is raised too, and becomes our one line."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    levels = [library.get_verbosity() for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity(logging.CRITICAL)
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)


def _loader(found: Found) -> Callable[[Found, torch.dtype | None], Model]:
    """Which layout a folder has, its parts being there."""
    index = _json(found, "model_index.json")
    network = (index.get("unet") or [None, None])[1]
    loaders = {"UNet2DModel": _load_pixels, "UNet2DConditionModel": _load_sd}
    if network not in loaders or "text_encoder_2" in index:
        layouts = "a UNet2DModel, or Stable Diffusion's UNet2DConditionModel with one text encoder"
        raise UsageError.of("model.name", found.name, f"{layouts}; found {index.get('_class_name', network)}")
    parts = ("unet", "vae", "text_encoder", "tokenizer") if network == "UNet2DConditionModel" else ("unet",)
    for part in parts:
        if not (found.path / part).is_dir():  # else diffusers takes the path for a hub name
            raise UsageError.of("model.name", found.name, f"a folder {part} in it")
    return loaders[network]


def _json(found: Found, place: str) -> dict[str, Any]:
    try:
        content = json.loads((found.path / place).read_text())
    except (OSError, ValueError) as error:
        raise UsageError.of("model.name", found.name, f"a readable {place} in it ({error})") from error
    if not isinstance(content, dict):
        raise UsageError.of("model.name", found.name, f"a readable {place} in it (it holds no mapping)")
    return content


def _schedule(config: dict[str, Any], name: str) -> tuple[Predicts, Schedule]:
    """What the network predicts, and its levels, from a diffusers scheduler's configuration."""
    from diffusers import DDPMScheduler

    from fcs.models.base import Schedule

    if config["_class_name"].startswith("FlowMatch"):
        return "flow", Schedule(None, config.get("shift", 1.0))
    consistency = config["_class_name"] == "LCMScheduler"
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTS:
        expected = f"a scheduler whose prediction_type is {' or '.join(PREDICTS)}, not {prediction}"
        raise UsageError.of("model.name", name, expected)
    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
    betas = {key: config[key] for key in keys if config.get(key) is not None}
    return PREDICTS[prediction], Schedule(DDPMScheduler(**betas).alphas_cumprod, consistency=consistency)


def _load_pixels(found: Found, autocast: torch.dtype | None) -> Model:
    from diffusers import UNet2DModel

    from fcs.models.pixels import PixelModel

    predicts, schedule = _schedule(_json(found, "scheduler/scheduler_config.json"), found.name)
    unet = UNet2DModel.from_pretrained(found.path / "unet", torch_dtype=torch.float32, use_safetensors=True)
    return PixelModel(unet, predicts, schedule, autocast)


def _load_sd(found: Found, autocast: torch.dtype | None) -> Model:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    predicts, schedule = _schedule(_json(found, "scheduler/scheduler_config.json"), found.name)
    options = {"torch_dtype": torch.float32, "use_safetensors": True}
    unet = UNet2DConditionModel.from_pretrained(found.path / "unet", **options)
    vae = AutoencoderKL.from_pretrained(found.path / "vae", **options)
    return _latent(unet, vae)(
        unet,
        vae,
        CLIPTextModel.from_pretrained(found.path / "text_encoder", dtype=torch.float32, use_safetensors=True),
        CLIPTokenizer.from_pretrained(found.path / "tokenizer"),
        predicts,
        schedule,
        autocast,
    )


def _latent(unet: UNet2DConditionModel, vae: AutoencoderKL) -> type[StableDiffusion]:
    """Which of the latent models a UNet makes, by the channels that it sees."""
    from fcs.models.inpainting import StableDiffusionInpaint
    from fcs.models.stable_diffusion import StableDiffusion

    tuned = unet.config.in_channels == StableDiffusionInpaint.inputs(vae.config.latent_channels)
    return StableDiffusionInpaint if tuned else StableDiffusion


def _load_single_file(found: Found, autocast: torch.dtype | None) -> Model:
    from diffusers import StableDiffusionPipeline

    with safe_open(found.path, "pt") as file:
        if SINGLE_FILE_KEY not in file.keys():  # noqa: SIM118 (not a mapping); else diffusers asks the hub
            raise UsageError.of("model.name", found.name, "a Stable Diffusion checkpoint")
    parts = StableDiffusionPipeline.from_single_file(
        found.path, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    predicts, schedule = _schedule({"_class_name": "", **parts.scheduler.config}, found.name)
    kind = _latent(parts.unet, parts.vae)
    return kind(parts.unet, parts.vae, parts.text_encoder, parts.tokenizer, predicts, schedule, autocast)
