"""Arguments of the Python calls as people write them: each works, or is one error that names it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fcs
from fcs.core.foreign_names import ARGUMENTS
from fcs.core.operators import GaussianBlur
from fcs.models import Model
from fcs.samplers import DDIM, DPS, InexactNewton
from fcs.tasks import Inpaint

HALF = np.zeros((16, 16), bool)
HALF[:, 8:] = True
BASE = {"image": np.full((16, 16), 90, np.uint8), "mask": HALF, "steps": 1, "sampler": DDIM(), "progress": False}


def pixels(result: fcs.Pictures) -> list[bytes]:
    return [image.tobytes() for image in result.images]


def seeds(result: fcs.Pictures) -> list[float | None]:
    return [row["seed"] for row in result.metrics]


def test_seeds_are_drawn_where_none_is_given(digits: Model) -> None:
    first, second = (fcs.inpaint(digits, **{**BASE, "seed": None}) for _ in range(2))
    assert seeds(first) != seeds(second)
    again = fcs.inpaint(digits, **{**BASE, "seed": int(first.metrics[0]["seed"] or 0)})
    assert pixels(again) == pixels(first)


def test_a_generator_gives_the_same_seeds_again(digits: Model) -> None:
    def drawn(number: int, count: int) -> list[float | None]:
        generator = torch.Generator().manual_seed(number)
        return seeds(fcs.sample(digits, count, seed=generator, steps=1, progress=False))

    assert drawn(1, 2) == drawn(1, 2)
    assert len(set(drawn(1, 2))) == 2
    assert drawn(1, 1) != drawn(2, 1)
    each = [torch.Generator().manual_seed(1), None]
    assert seeds(fcs.sample(digits, 2, seed=each, steps=1, progress=False))[0] == drawn(1, 1)[0]


@pytest.mark.parametrize(
    "seed", [np.int32(3), np.array(3), torch.tensor(3), 3.0, [3], (3,), range(3, 4), np.array([3])]
)
def test_a_seed_is_a_whole_number_of_any_type(digits: Model, seed: Any) -> None:
    assert seeds(fcs.inpaint(digits, **{**BASE, "seed": seed})) == [3]


def test_no_prompt_is_an_empty_one(latent_model: Model) -> None:
    def made(**options: Any) -> list[bytes]:
        return pixels(fcs.sample(latent_model, 2, steps=1, guidance=2.0, progress=False, **options))

    assert made(prompt=None, negative_prompt=None) == made(prompt=[None, ""], negative_prompt="") == made()


def test_samplers_tasks_and_operators_by_their_short_names(digits: Model) -> None:
    by_name, by_class, by_object = (fcs.inpaint(digits, **{**BASE, "sampler": s}) for s in ("dps", DPS, DPS()))
    assert pixels(by_name) == pixels(by_class) == pixels(by_object)
    newton = fcs.apply(digits, "inpaint", **{**BASE, "sampler": "newton"})
    assert pixels(newton) == pixels(fcs.apply(digits, Inpaint(), **{**BASE, "sampler": InexactNewton()}))
    named, made = (
        fcs.restore(digits, BASE["image"], operator, steps=1, sampler="ddim", progress=False)
        for operator in ("gaussianblur", GaussianBlur())
    )
    assert pixels(named) == pixels(made)


def test_batches_of_a_size_are_sampled_one_after_the_other(digits: Model, capsys: pytest.CaptureFixture[str]) -> None:
    images = [np.full((16, 16), 40 * i, np.uint8) for i in range(5)]
    options = {**BASE, "image": images, "batch_size": 2, "seed": [7, 8, 9, 10, 11]}
    result = fcs.inpaint(digits, **options)
    assert len(result.images) == len(result.metrics) == 5
    assert seeds(result) == [7, 8, 9, 10, 11]
    for first in (0, 2):  # a pair by itself gives the same bytes
        part = {**options, "image": images[first : first + 2], "seed": [7 + first, 8 + first]}
        assert pixels(result)[first : first + 2] == pixels(fcs.inpaint(digits, **part))
    last = {**options, "image": [images[4], images[0]], "seed": [11, 0]}
    assert pixels(result)[4] == pixels(fcs.inpaint(digits, **last))[0]
    assert capsys.readouterr().err == ""


def test_a_bar_counts_the_network_calls(digits: Model, capsys: pytest.CaptureFixture[str]) -> None:
    options = {**BASE, "image": [BASE["image"]] * 3, "batch_size": 2, "sampler": None}
    fcs.inpaint(digits, **{**options, "progress": True})
    said = capsys.readouterr().err
    assert f"{2 * 11}/{2 * 11}" in said
    assert "batch=2" in said


def test_layers_in_batches_keep_what_they_make_besides(digits: Model) -> None:
    images = [np.full((16, 16), 60 * i, np.uint8) for i in range(3)]
    task = fcs.tasks.Layers(rounds=0)
    result = fcs.layers(digits, images, task=task, steps=1, sampler="ddim", batch_size=2, progress=False)
    assert {name: len(made) for name, made in result.further.items()} == {"layer1": 3, "layer2": 3, "mask": 3}
    assert [row["iou"] for row in result.metrics] == [None] * 3


WRONG = {
    "seed as text": ({"seed": "three"}, "seed='three': expected a whole number"),
    "seed true": ({"seed": True}, "seed=True: expected a whole number"),
    "seed in a list": ({"seed": [1.5]}, r"seed\[0\]=1.5: expected"),
    "seed too large": ({"seed": 2**63}, "seed=9223372036854775808"),
    "prompt": ({"prompt": 5}, "prompt=5: expected a text"),
    "prompt in a list": ({"prompt": [b"a"]}, r"prompt\[0\]=bytes: expected a text"),
    "prompt of half a character": ({"prompt": "\ud83d"}, r"prompt='\\ud83d': expected a text, in UTF-8"),
    "negative prompt": ({"negative_prompt": ["ugly"]}, "negative_prompt=list: expected a text"),
    "guidance below 0": ({"guidance": -1}, "guidance=-1: expected a number, 0 or more"),
    "no guidance": ({"guidance": None}, "guidance=None"),
    "guidance as text": ({"guidance": "7.5"}, "guidance='7.5'"),
    "infinite guidance": ({"guidance": float("inf")}, "guidance=inf"),
    "guidance_stop": ({"guidance_stop": 2}, "guidance_stop=2: expected a number, 0 to 1"),
    "no steps": ({"steps": 0}, "steps=0: expected a whole number, 1 or more"),
    "steps as text": ({"steps": "20"}, "steps='20'"),
    "half a step": ({"steps": 2.5}, "steps=2.5"),
    "levels": ({"levels": None}, "levels=None: expected even or paper"),
    "sampler's name": ({"sampler": "dpss"}, "sampler=dpss: expected .*did you mean dps"),
    "sampler": ({"sampler": 5}, "sampler=5: expected a Sampler or the name of one"),
    "task for a sampler": ({"sampler": Inpaint}, "sampler=Inpaint: expected a Sampler"),
    "batch size": ({"batch_size": 0}, "batch_size=0: expected a whole number, 1 or more"),
    "diffusers' steps": ({"num_inference_steps": 5}, "num_inference_steps=5: .*fcs.inpaint; here it is called steps"),
    "diffusers' guidance": ({"guidance_scale": 5}, "here it is called guidance"),
    "diffusers' mask": ({"mask_image": None}, "here it is called mask"),
    "seed and generator": (
        {"seed": 3, "generator": torch.Generator()},
        "generator=Generator: expected none beside seed",
    ),
    "generator": ({"generator": "mt19937"}, "seed='mt19937'"),
    "output type": ({"output_type": "latent"}, "output_type='latent': expected one of pil, np, pt"),
    "callback": ({"callback": 5}, "callback=int: expected a function"),
    "no results": ({"num_images_per_prompt": 0}, "num_images_per_prompt=0: expected a whole number, 1 or more"),
    "diffusers' callback": ({"callback_on_step_end": None}, "here it is called callback"),
    "a slip": ({"promt": "a"}, "promt='a': .*here it is called prompt"),
    "nothing like it": ({"xyzzy": 1}, "xyzzy=1: expected an argument of fcs.inpaint$"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_one_error_that_names_the_argument(digits: Model, name: str) -> None:
    changes, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        fcs.inpaint(digits, **{**BASE, **changes})


def test_weights_in_16_bits_are_refused_with_the_way_to_compute_in_them(digits: Model) -> None:
    for cast, name in ((torch.float16, "16"), (torch.bfloat16, "bf16")):
        with pytest.raises(ValueError, match=f'model=a model in {cast}: .*precision="{name}"'):
            fcs.inpaint(deepcopy(digits).to(cast), **BASE)
    for model in ("digits-16", None, torch.nn.Linear(1, 1)):
        with pytest.raises(ValueError, match=r"model=.*: expected what fcs.load returns"):
            fcs.inpaint(model, **BASE)  # type: ignore[arg-type]


def test_loading_takes_a_path_a_device_and_a_precision(tiny_sd: Path) -> None:
    model = fcs.load(tiny_sd, device=torch.device("cpu"), precision="bf16")
    assert model.denoiser.autocast == torch.bfloat16
    wrong: dict[str, dict[str, Any]] = {
        "device=.*: expected a device of this machine": {"device": "gpu"},
        "precision='fp16': expected one of 32, 16, bf16": {"precision": "fp16"},
        "name=int: expected the name or the path": {"name": 5},
        "torch_dtype=dtype: .*here it is called precision": {"torch_dtype": torch.float16},
    }
    for message, changes in wrong.items():
        with pytest.raises(ValueError, match=message):
            fcs.load(**{"name": tiny_sd, **changes})


def test_numbers_of_the_tasks_are_checked_too(digits: Model) -> None:
    image = Image.new("L", (8, 8))
    with pytest.raises(ValueError, match=r"scale=2\.5: expected a whole number, 2 or more"):
        fcs.superres(digits, image, scale=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="error='newton': expected one of decoder_gradient, vae_newton"):
        fcs.superres(digits, image, scale=2, error="newton")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="operator='downsample': expected an object; Downsample has arguments"):
        fcs.restore(digits, image, "downsample")
    with pytest.raises(ValueError, match=r"operator=blur: expected .*gaussianblur"):
        fcs.restore(digits, image, "blur")
    with pytest.raises(ValueError, match=r"count=0: expected a whole number, 1 or more"):
        fcs.sample(digits, 0)


def test_every_foreign_argument_means_one_that_a_call_has() -> None:
    own: set[str] = set()
    for call in (fcs.load, fcs.apply, fcs.superres):
        own |= set(call.__wrapped__.__annotations__)  # type: ignore[attr-defined]
    assert {name: meant for name, meant in ARGUMENTS.items() if meant not in own} == {}
