"""Models: found by name, loaded from their published formats, encoded, prompted and guided."""

import json
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save, save_file
from torch import Tensor

import fcs
import fcs.models
from fcs.core.errors import UsageError
from fcs.core.images import to_float
from fcs.core.levels import Level
from fcs.models import Model, embedded, find, load
from fcs.tools.cli.predict import main


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test at the first use of the hub's client."""

    def asked(*args: Any, **kwargs: Any) -> None:
        pytest.fail(f"asked the hub for {args}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def one_line(error: pytest.ExceptionInfo[UsageError], *words: str) -> None:
    line = str(error.value)
    assert "\n" not in line
    for word in words:
        assert word in line


# Names


@pytest.mark.usefixtures("no_hub")
def test_embedded_names_are_found() -> None:
    assert {"digits-16", "digits-16-flow"} <= set(embedded())
    for name in embedded():
        assert find(name).path.name == name
        assert find(name).revision is None


@pytest.mark.usefixtures("no_hub")
def test_a_folder_is_found(tiny_sd: Path) -> None:
    assert find(str(tiny_sd)).path == tiny_sd


NOWHERE = ["digits-61", "", ".", "/no/such/folder", "./no/such", "a/b/c", "a b/c", "model.safetensors"]
NOWHERE += ["a/b.safetensors", "~nobody-of-this-name/model", "x" * 300, "two\nlines"]


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("name", NOWHERE)
def test_a_name_that_is_nothing_is_one_line_and_no_network_call(name: str) -> None:
    with pytest.raises(UsageError) as error:
        find(name)
    one_line(error, "model.name=", "expected")


@pytest.mark.usefixtures("no_hub")
def test_a_slip_of_the_pen_is_told_the_nearest_name() -> None:
    with pytest.raises(UsageError) as error:
        find("digits16")
    one_line(error, "model.name=digits16", "did you mean digits-16?")


@pytest.mark.usefixtures("no_hub")
def test_a_folder_without_a_model_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        find(str(tmp_path))
    one_line(error, "model_index.json")


def test_a_hub_name_is_fetched_at_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, asked = tmp_path / "0123456789abcdef", []  # the client's folders are named after the commit

    def snapshot_download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision))
        return str(commit)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    found = find("someone/some-model", "main")
    assert asked == [("someone/some-model", "main")]
    assert (found.path, found.revision) == (commit, commit.name)


@pytest.mark.parametrize("failure", [OSError("no route\nto host"), TimeoutError()])
def test_a_hub_that_fails_is_one_line(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(*args: Any, **kwargs: Any) -> None:
        raise failure

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(UsageError) as error:
        find("someone/some-model")
    one_line(error, "model.name=someone/some-model", type(failure).__name__)


# Files


def test_sd_loads_in_float32_and_frozen(latent_model: Model) -> None:
    assert latent_model.shape == (4, 16, 16)
    assert latent_model.picture_shape == (3, 64, 64)
    assert latent_model.factor == 4
    assert latent_model.prompted
    assert not latent_model.training
    for parameter in latent_model.parameters():
        assert parameter.dtype == torch.float32
        assert not parameter.requires_grad


def test_loaded_weights_are_the_files(tiny_sd: Path, latent_model: Model) -> None:
    state = load_file(tiny_sd / "unet" / "diffusion_pytorch_model.safetensors")
    loaded = latent_model.denoiser.network.unet.state_dict()
    assert state.keys() == loaded.keys()
    assert all(torch.equal(loaded[name], value.float()) for name, value in state.items())


def test_schedule_is_stable_diffusions(latent_model: Model, abar: Tensor) -> None:
    torch.testing.assert_close(latent_model.schedule.alphas_cumprod.double(), abar, rtol=1e-4, atol=0)
    assert [level.t for level in latent_model.schedule.levels(20)[:-1]] == list(range(999, 0, -50))


def test_steps_beyond_the_schedule_are_a_usage_error(latent_model: Model) -> None:
    with pytest.raises(UsageError, match="steps=1001: expected 1 to 1000"):
        latent_model.schedule.levels(1001)


def test_the_scheduler_says_what_the_network_predicts(tiny_sd: Path, tiny_sd_v: Path) -> None:
    x, level = noise(4, 16, 16), Level(500.0, 0.6, 0.8)
    eps, v = (fcs.load(str(folder), device="cpu") for folder in (tiny_sd, tiny_sd_v))
    cond = eps.text(["red"])
    out = eps.denoiser.network(x, torch.tensor([500.0]), cond)
    with torch.no_grad():
        torch.testing.assert_close(eps.guided(["red"])(x, level), (x - 0.8 * out) / 0.6)
        torch.testing.assert_close(v.guided(["red"])(x, level), 0.6 * x - 0.8 * out)


def test_a_flow_scheduler_makes_a_flow(tiny_sd: Path, tmp_path: Path) -> None:
    folder = copy(tiny_sd, tmp_path / "flow")
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    model = fcs.load(str(folder), device="cpu")
    assert model.denoiser.predicts == "flow"
    levels = model.schedule.levels(2)
    assert [level.sigma for level in levels] == pytest.approx([1, 0.75, 0])
    with pytest.raises(UsageError, match="levels=paper"):
        model.schedule.levels(20, "paper")


INDEX, SCHEDULER = "model_index.json", "scheduler/scheduler_config.json"
UNET, VAE = "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"


def pickle(weights: Path) -> None:
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()


BREAKS: dict[str, Callable[[Path], object]] = {
    "other network": lambda model: edit(model / INDEX, unet=["diffusers", "UNet1DModel"]),
    "no network": lambda model: edit(model / INDEX, unet=None),
    "two text encoders": lambda model: edit(model / INDEX, text_encoder_2=["transformers", "CLIPTextModel"]),
    "index no JSON": lambda model: (model / INDEX).write_text("{"),
    "index a list": lambda model: (model / INDEX).write_text("[]"),
    "other prediction": lambda model: edit(model / SCHEDULER, prediction_type="sample"),
    "scheduler without class": lambda model: (model / SCHEDULER).write_text("{}"),
    "no scheduler": lambda model: shutil.rmtree(model / "scheduler"),
    "no unet": lambda model: shutil.rmtree(model / "unet"),
    "no text encoder": lambda model: shutil.rmtree(model / "text_encoder"),
    "no tokenizer": lambda model: shutil.rmtree(model / "tokenizer"),
    "pickled weights": lambda model: pickle(model / UNET),
    "cut weights": lambda model: (model / VAE).write_bytes((model / VAE).read_bytes()[:1000]),
}


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("how", BREAKS)
def test_files_that_are_no_model_are_one_line(tiny_sd: Path, tmp_path: Path, how: str) -> None:
    folder = copy(tiny_sd, tmp_path / "model")
    BREAKS[how](folder)
    with pytest.raises(UsageError) as error:
        load(find(str(folder)))
    one_line(error, f"model.name={str(folder)[:40]}", "expected")


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    "content", [save({"weight": torch.zeros(3)}), b"", b"no tensors"], ids=["other", "empty", "text"]
)
def test_a_single_file_that_is_no_checkpoint_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.safetensors"
    file.write_bytes(content)
    with pytest.raises(UsageError) as error:
        load(find(str(file)))
    one_line(error, "model.name=", "expected")


def test_the_hash_is_the_weights_and_how_they_are_used(tiny_sd: Path, tmp_path: Path) -> None:
    folder = copy(tiny_sd, tmp_path / "elsewhere")
    assert find(str(folder)).sha256() == find(str(tiny_sd)).sha256()
    schedule = folder / "scheduler" / "scheduler_config.json"
    before = schedule.read_text()
    schedule.write_text(before.replace("epsilon", "v_prediction"))
    assert find(str(folder)).sha256() != find(str(tiny_sd)).sha256()
    schedule.write_text(before)
    assert find(str(folder)).sha256() == find(str(tiny_sd)).sha256()
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state["decoder.conv_out.bias"] = state["decoder.conv_out.bias"] + 1
    save_file(state, file, metadata={"format": "pt"})
    assert find(str(folder)).sha256() != find(str(tiny_sd)).sha256()
    assert find(str(file)).sha256() != find(str(folder)).sha256()


FLAT = '''
import torch
from torch import nn

from fcs.core.denoiser import Denoiser, Guided
from fcs.models.base import Schedule
from fcs.models.family import Family


class Zero(nn.Module):
    """No noise is seen anywhere."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x, t, cond):
        return self.scale * x


class Flat(Family):
    """A family of its own, with a codec that does nothing."""

    layout = "a folder of FlatPipeline"

    @classmethod
    def is_in(cls, found):
        return not found.is_file and found.index.get("_class_name") == "FlatPipeline"

    @classmethod
    def load(cls, found, autocast, options):
        shape = tuple(found.index["shape"])
        return cls(Denoiser(Zero(), "flow", autocast), Schedule(None), shape, shape)

    def encode(self, pictures):
        return pictures

    def decode(self, z):
        return z

    def guided(self, prompts, negative="", scale=1.0):
        return Guided(self.denoiser, scale=scale)
'''


@pytest.fixture
def flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One new file in fcs.models, as if it lay beside the others, and a folder that it calls its own."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "flat.py").write_text(FLAT)
    monkeypatch.setattr(fcs.models, "__path__", [*fcs.models.__path__, str(tmp_path / "new")])
    folder = tmp_path / "flat-16"
    folder.mkdir()
    (folder / INDEX).write_text(json.dumps({"_class_name": "FlatPipeline", "shape": [1, 16, 16]}))
    yield folder
    sys.modules.pop("fcs.models.flat", None)
    vars(fcs.models).pop("flat", None)


def test_a_new_family_is_one_new_file(flat: Path, digits_shard: Path, tmp_path: Path) -> None:
    model = load(find(str(flat)))
    assert type(model).__name__ == "Flat"
    out = tmp_path / "out"
    options = [f"model.name={flat}", f"data.shards={digits_shard}", "data.limit=2", "steps=2", f"out={out}"]
    assert main(["--config", "digits_inpaint", *options]) == 0
    assert json.loads((out / "summary.json").read_text())["records"] == {"ok": 2, "failed": 0}


def test_what_no_family_calls_its_own_is_told_all_layouts(flat: Path) -> None:
    edit(flat / INDEX, _class_name="RoundPipeline")
    with pytest.raises(UsageError) as error:
        load(find(str(flat)))
    one_line(error, "FlatPipeline", "UNet2DModel", "Stable Diffusion", "found RoundPipeline")


# What a model does


def noise(*shape: int, n: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_encoding_and_decoding_have_the_models_shapes(latent_model: Model) -> None:
    pictures = noise(3, 64, 64, n=2).clamp(-1, 1)
    z = latent_model.encode(pictures)
    assert z.shape == (2, *latent_model.shape)
    assert latent_model.decode(z).shape == pictures.shape
    assert torch.equal(latent_model.encode(pictures), z)  # the posterior's mean, not a draw


@torch.no_grad()
def test_the_latent_scale_is_the_autoencoders(latent_model: Model) -> None:
    pictures, vae = noise(3, 64, 64).clamp(-1, 1), latent_model.vae
    mean = vae.encode(pictures).latent_dist.mean
    torch.testing.assert_close(latent_model.encode(pictures), 0.18215 * mean)
    torch.testing.assert_close(latent_model.decode(0.18215 * mean), vae.decode(mean).sample)


@torch.no_grad()
def test_prompts_matter_and_belong_to_their_rows(latent_model: Model) -> None:
    x, level = noise(4, 16, 16).repeat(3, 1, 1, 1), Level(500.0, 0.6, 0.8)
    x0 = latent_model.guided(["red apple", "", "red apple"])(x, level)
    assert not torch.allclose(x0[0], x0[1])
    assert torch.equal(x0[0], x0[2])
    assert torch.equal(latent_model.guided(["", "red apple", ""])(x, level)[1], x0[0])


@torch.no_grad()
def test_an_embedding_does_not_depend_on_the_prompts_beside_it(tiny_sd: Path) -> None:
    together = fcs.load(str(tiny_sd), device="cpu").text(["a", "red apple", "b" * 99, "a"])
    for i, prompt in enumerate(["a", "red apple", "b" * 99, "a"]):
        assert torch.equal(fcs.load(str(tiny_sd), device="cpu").text([prompt])[0], together[i])


@torch.no_grad()
def test_guidance_runs_from_the_negative_prompt_to_the_prompt(latent_model: Model) -> None:
    x, level = noise(4, 16, 16), Level(500.0, 0.6, 0.8)
    prompt, negative = (latent_model.guided([text])(x, level) for text in ("red apple", "blue"))
    guided = latent_model.guided(["red apple"], "blue", 3.0)(x, level)
    torch.testing.assert_close(guided, negative + 3 * (prompt - negative), rtol=0, atol=1e-4)
    assert not torch.allclose(guided, prompt, atol=1e-3)
    torch.testing.assert_close(latent_model.guided(["red apple"], "blue", 1.0)(x, level), prompt)


def test_a_model_without_prompts_cannot_be_guided(digits: Model) -> None:
    assert not digits.prompted
    with pytest.raises(ValueError, match="guidance=2"):
        digits.guided([""], scale=2.0)


def held_out_digits(count: int) -> Tensor:
    """The first digits of the package's own shard, ``(count, 1, 16, 16)`` in [-1, 1]."""
    with tarfile.open(Path(fcs.__file__).parent / "samples" / "digits" / "half.tar") as shard:
        names = sorted(name for name in shard.getnames() if re.fullmatch(r"[^.]+\.png", name))[:count]
        pictures = [np.array(Image.open(shard.extractfile(name))) for name in names]
    return to_float(torch.from_numpy(np.stack(pictures)).unsqueeze(1))


@torch.no_grad()
@pytest.mark.parametrize("name", ["digits-16", "digits-16-flow"])
def test_embedded_digits_denoise_better_than_any_linear_rule_of_a_pixel(name: str) -> None:
    model, pictures = fcs.load(name, device="cpu"), held_out_digits(8)
    assert model.shape == model.picture_shape == (1, 16, 16)
    assert sum(p.numel() for p in model.parameters()) <= 1_500_000
    variance = pictures.var()
    for level in model.schedule.levels(10)[:-1]:
        ratio = level.sigma / max(level.alpha, 1e-9)
        if 0.2 < ratio < 3:  # beyond, too little is left to find, or too much
            x = level.alpha * pictures + level.sigma * noise(1, 16, 16, n=8)
            error = (model.guided([""] * 8)(x, level) - pictures).square().mean()
            wiener = variance * ratio**2 / (variance + ratio**2)
            assert error < 0.5 * wiener


# Memory


def test_slices_give_the_same_pictures_and_gradients(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = load(find(str(tiny_sd))), []
    z = torch.randn(3, *model.shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weights = torch.randn(3, *model.picture_shape, generator=torch.Generator().manual_seed(1))

    def gradient() -> Tensor:
        return torch.autograd.grad((weights * model.decode(z)).sum(), z)[0]

    whole, pictures = gradient(), model.decode(z).detach()
    latents = model.encode(pictures)
    model.spare(slicing=True, tiling=False)
    decode = model.vae.decoder.forward
    monkeypatch.setattr(model.vae.decoder, "forward", lambda z, *rest: seen.append(len(z)) or decode(z, *rest))
    torch.testing.assert_close(gradient(), whole)
    assert seen == [1] * 6  # each row once for the picture and once for its gradient
    torch.testing.assert_close(model.decode(z), pictures)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(pictures), latents)
    assert set(seen) == {1}


def test_tiles_for_large_pictures_only(tiny_sd: Path) -> None:
    model = load(find(str(tiny_sd)))
    z = torch.randn(1, *model.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = model.decode(z)
        model.spare(slicing=False, tiling=True)
        assert torch.equal(model.decode(z), whole)
        model.vae.tile_latent_min_size, model.vae.tile_sample_min_size = 8, 32
        tiled = model.decode(z)
        assert tiled.shape == whole.shape
        assert not torch.equal(tiled, whole)
        model.spare(slicing=False, tiling=False)
        assert torch.equal(model.decode(z), whole)


def test_a_model_of_pixels_has_nothing_to_spare(digits: Model) -> None:
    digits.spare(slicing=True, tiling=True)
    assert digits.decode(z := torch.ones(1, 1, 16, 16)) is z
