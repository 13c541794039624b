"""What a Python call takes and gives back as people have it: kinds of pictures, several results, previews, bars."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

import fcs
from fcs.core.errors import UsageError
from fcs.engine import python_progress
from fcs.models import Model
from fcs.models.loading import EMBEDDED
from fcs.samplers import DDIM
from fcs.tasks import Layers

HALF = np.zeros((16, 16), bool)
HALF[:, 8:] = True
GREY = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
BASE: dict[str, Any] = {"steps": 1, "sampler": DDIM(), "progress": False}


def pixels(result: fcs.Pictures) -> list[bytes]:
    return [image.tobytes() for image in result.images]


def kinds(tmp_path: Path) -> dict[str, Any]:
    """One picture in every form."""
    picture = Image.fromarray(GREY)
    picture.save(tmp_path / "grey.png")
    floats, tensor = GREY.astype(np.float32) / 255, torch.from_numpy(GREY)
    return {
        "L": picture,
        "RGB": picture.convert("RGB"),
        "RGBA": picture.convert("RGBA"),
        "LA": picture.convert("LA"),
        "P": picture.convert("P"),
        "CMYK": Image.merge("CMYK", [Image.new("L", (16, 16))] * 3 + [Image.fromarray(255 - GREY)]),
        "I;16": Image.fromarray(GREY.astype(np.uint16) * 257),
        "F": Image.fromarray(floats),
        "bytes": GREY,
        "(H, W, 1)": GREY[..., None],
        "(H, W, 3)": np.stack([GREY] * 3, 2),
        "(N, H, W, C)": GREY[None, ..., None],
        "16 bits": GREY.astype(np.uint16) * 257,
        "floats": floats,
        "double": floats.astype(np.float64),
        "half": floats.astype(np.float32),
        "(1, H, W)": tensor[None],
        "(3, H, W)": tensor.expand(3, -1, -1),
        "(N, C, H, W)": tensor[None, None],
        "float tensor": torch.from_numpy(floats)[None, None],
        "with gradient": torch.from_numpy(floats)[None].requires_grad_(),
        "path": tmp_path / "grey.png",
        "text": str(tmp_path / "grey.png"),
        "list": [picture],
        "tuple": (GREY,),
    }


def test_a_picture_in_every_form_is_the_same_picture(digits: Model, tmp_path: Path) -> None:
    expected = pixels(fcs.inpaint(digits, GREY, HALF, **BASE))
    for name, given in kinds(tmp_path).items():
        assert pixels(fcs.inpaint(digits, given, HALF, **BASE)) == expected, name


def test_a_mask_in_every_form_is_the_same_mask(digits: Model, tmp_path: Path) -> None:
    expected = pixels(fcs.inpaint(digits, GREY, HALF, **BASE))
    white = Image.fromarray(HALF.astype(np.uint8) * 255)
    white.save(tmp_path / "mask.png")
    masks: list[Any] = [white, white.convert("1"), white.convert("RGB"), HALF.astype(np.float32), tmp_path / "mask.png"]
    masks += [HALF.astype(np.uint8), HALF[..., None], HALF[None, ..., None], [HALF], torch.from_numpy(HALF)]
    masks += [torch.from_numpy(HALF)[None], torch.from_numpy(HALF)[None, None], torch.from_numpy(HALF).float()[None]]
    for place, mask in enumerate(masks):
        assert pixels(fcs.inpaint(digits, GREY, mask, **BASE)) == expected, place


def test_results_as_pictures_arrays_and_tensors(digits: Model) -> None:
    images = [GREY, 255 - GREY]
    pil, arrays, tensors = (
        fcs.inpaint(digits, images, HALF, output_type=kind, **BASE).images for kind in ("pil", "np", "pt")
    )
    assert all(isinstance(image, Image.Image) for image in pil)
    assert (arrays.shape, arrays.dtype) == ((2, 16, 16, 1), np.float32)
    assert (tensors.shape, tensors.dtype) == ((2, 1, 16, 16), torch.float32)
    for place, image in enumerate(pil):
        assert np.array_equal(np.rint(arrays[place, ..., 0] * 255).astype(np.uint8), np.array(image))
        assert torch.equal((tensors[place, 0] * 255).round().byte(), torch.from_numpy(np.array(image)))
    # What comes out goes in again.
    assert pixels(fcs.inpaint(digits, tensors, HALF, **BASE)) == pixels(fcs.inpaint(digits, pil, HALF, **BASE))


def test_what_a_task_makes_besides_has_the_same_type(digits: Model) -> None:
    made = fcs.layers(digits, GREY, task=Layers(rounds=0), steps=1, output_type="pt", progress=False)
    assert {name: tuple(one.shape) for name, one in made.further.items()} == dict.fromkeys(
        ("layer1", "layer2", "mask"), (1, 1, 16, 16)
    )


def test_several_results_for_an_image(digits: Model) -> None:
    images = [GREY, 255 - GREY]
    both = fcs.inpaint(digits, images, HALF, seed=5, num_images_per_prompt=2, **BASE)
    by_hand = fcs.inpaint(digits, [images[0]] * 2 + [images[1]] * 2, HALF, seed=5, **BASE)
    assert pixels(both) == pixels(by_hand)
    assert [row["seed"] for row in both.metrics] == [5, 6, 7, 8]
    masks = [HALF, ~HALF]
    each = fcs.inpaint(digits, images, masks, seed=5, num_images_per_prompt=2, prompt=["a", "b"], **BASE)
    assert pixels(each) == pixels(
        fcs.inpaint(digits, np.repeat(images, 2, 0)[..., None], np.repeat(masks, 2, 0)[..., None], seed=5, **BASE)
    )
    assert len(fcs.sample(digits, 2, num_images_per_prompt=3, steps=1, progress=False).images) == 6


def test_a_generator_is_a_seed(digits: Model) -> None:
    named, seed = (
        pixels(fcs.inpaint(digits, GREY, HALF, **{key: torch.Generator().manual_seed(1)}, **BASE))
        for key in ("generator", "seed")
    )
    assert named == seed
    each = [torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)]
    assert pixels(fcs.inpaint(digits, [GREY, GREY], HALF, generator=each, **BASE))[0] == named[0]
    assert pixels(fcs.inpaint(digits, GREY, HALF, generator=None, **BASE)) != named


@pytest.mark.parametrize("sampler", ["newton", "ddim", "projectednewton", "replacement"])
def test_a_callback_sees_every_level(digits: Model, sampler: str) -> None:
    seen: list[tuple[int, Any]] = []
    options = {"steps": 3, "sampler": sampler, "progress": False}
    result = fcs.inpaint(digits, [GREY, GREY], HALF, callback=lambda *told: seen.append(told), **options)
    assert [level for level, _ in seen] == [0, 1, 2]
    assert all(len(shown) == 2 and shown[0].size == (16, 16) for _, shown in seen)
    assert pixels(result) == pixels(fcs.inpaint(digits, [GREY, GREY], HALF, **options))
    # The last is the result, where it was made and not pasted.
    made, last = (np.array(one)[:, 12:].astype(int) for one in (result.images[0], seen[-1][1][0]))
    assert sampler == "projectednewton" or np.abs(made - last).mean() < 30


def test_a_callback_of_a_measurement_in_pieces(digits: Model) -> None:
    seen: list[tuple[int, int]] = []
    small = [GREY[::2, ::2]] * 3
    options: dict[str, Any] = {**BASE, "scale": 2, "steps": 2, "batch_size": 2, "output_type": "np"}
    fcs.superres(digits, small, callback=lambda level, shown: seen.append((level, len(shown))), **options)
    assert seen == [(0, 2), (1, 2), (0, 1), (1, 1)]


def test_what_a_callback_raises_ends_the_call(digits: Model) -> None:
    def stop(level: int, shown: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fcs.inpaint(digits, GREY, HALF, callback=stop, **BASE)
    with pytest.raises(UsageError, match="callback=function: expected none for layers"):
        fcs.layers(digits, GREY, callback=stop, steps=1)


def test_a_pipeline_in_memory_is_a_model() -> None:
    pipe = StableDiffusionPipeline.from_pretrained(EMBEDDED / "emoji-64").to(torch.float32)
    image, mask = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool)
    options = {"steps": 1, "sampler": "ddim", "progress": False}
    loaded, direct = (fcs.inpaint(model, image, mask, **options) for model in (fcs.load(pipe), pipe))
    assert pixels(loaded) == pixels(direct)


def test_a_notebook_has_a_bar_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not python_progress.in_notebook()
    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    assert python_progress.in_notebook()
    made = []
    monkeypatch.setattr(python_progress, "_notebooks_own", lambda: lambda **options: made.append(options))
    monkeypatch.setattr(python_progress, "find_spec", lambda name: None)
    python_progress.bar_of_calls(3, True).close()  # without ipywidgets, as in a terminal
    assert made == []
    monkeypatch.setattr(python_progress, "find_spec", lambda name: name)
    python_progress.bar_of_calls(3, True)
    assert (made[0]["total"], made[0]["mininterval"]) == (3, 0.1)
    terminal = SimpleNamespace(get_ipython=lambda: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert not python_progress.in_notebook()


def test_a_bar_in_a_terminal_imports_no_notebook() -> None:
    code = "import sys; from fcs.engine.python_progress import bar_of_calls; bar_of_calls(1, True).close(); "
    code += "print('IPython' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
