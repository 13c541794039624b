"""The library from Python, on the embedded digits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fcs
from fcs.core.operators import GaussianBlur, Pixels
from fcs.models import Model
from fcs.samplers import DDIM, InexactNewton, Replacement
from fcs.tasks import Inpaint, KnownPixels, Layers

STEPS = 2


def digit(seed: int = 0) -> Image.Image:
    """A bright stroke on black."""
    array = np.zeros((16, 16), np.uint8)
    array[2:14, 6 + seed : 9 + seed] = 200
    return Image.fromarray(array)


def right_half() -> Image.Image:
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    return Image.fromarray(mask)


def same(a: Image.Image, b: Image.Image) -> bool:
    return np.array_equal(np.array(a), np.array(b))


@pytest.mark.parametrize("name", ["digits-16", "digits-16-flow"])
def test_inpainting_keeps_the_black_part_and_makes_the_white(name: str) -> None:
    result = fcs.inpaint(fcs.load(name, device="cpu"), digit(), right_half(), steps=STEPS)
    made, given = np.array(result.images[0]), np.array(digit())
    assert made.shape == (16, 16)
    assert made.dtype == np.uint8
    assert np.array_equal(made[:, :8], given[:, :8])
    assert not np.array_equal(made[:, 8:], given[:, 8:])


def test_metrics_are_the_records_own(digits: Model) -> None:
    result = fcs.inpaint(digits, [digit(0), digit(1)], right_half(), seed=5, steps=STEPS)
    for i, row in enumerate(result.metrics):
        made, given = (np.array(p).astype(float) for p in (result.images[i], digit(i)))
        assert row["seed"] == 5 + i
        assert row["nfe"] == STEPS * 11
        error = ((made - given)[:, 8:] ** 2).mean()
        assert row["psnr_generated"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
        assert 0 < row["residual"] < 1


def test_newton_comes_nearer_to_the_constraint_than_free_sampling(digits: Model) -> None:
    newton, free = (
        fcs.inpaint(digits, digit(), right_half(), steps=STEPS, sampler=sampler).metrics[0]["residual"]
        for sampler in (None, DDIM())
    )
    assert newton < 0.5 * free


def test_the_same_seed_gives_the_same_picture(digits: Model) -> None:
    first, again, other = (
        fcs.inpaint(digits, digit(), right_half(), seed=seed, steps=STEPS).images[0] for seed in (1, 1, 2)
    )
    assert same(first, again)
    assert not same(first, other)


def test_global_randomness_is_neither_used_nor_touched(digits: Model) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = fcs.inpaint(digits, digit(), right_half(), steps=STEPS).images[0]
    assert torch.equal(torch.rand(3), expected)
    assert same(fcs.inpaint(digits, digit(), right_half(), steps=STEPS).images[0], first)


def test_order_in_a_list_changes_nothing(digits: Model) -> None:
    pictures = [digit(0), digit(1), digit(3)]
    straight = fcs.inpaint(digits, pictures, right_half(), seed=[7, 8, 9], steps=STEPS).images
    back = fcs.inpaint(digits, pictures[::-1], right_half(), seed=[9, 8, 7], steps=STEPS).images
    assert all(same(a, b) for a, b in zip(straight, back[::-1], strict=True))


def test_a_list_is_its_pictures_one_by_one(digits: Model) -> None:
    # Another batch size rounds otherwise, and Newton's difference amplifies that: shown on plain sampling.
    pictures = [digit(0), digit(1), digit(3)]
    options = {"steps": STEPS, "sampler": DDIM()}
    together = fcs.inpaint(digits, pictures, right_half(), seed=3, **options)
    for i, picture in enumerate(pictures):
        alone = fcs.inpaint(digits, picture, right_half(), seed=3 + i, **options)
        gap = np.array(alone.images[0]).astype(int) - np.array(together.images[i])
        assert np.abs(gap).max() <= 1
        assert alone.metrics[0]["seed"] == together.metrics[i]["seed"]


def test_pictures_are_read_as_records_are(digits: Model) -> None:
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    deep = Image.fromarray(np.full((16, 16), 30000, np.uint16))
    made = fcs.inpaint(digits, [clear, deep], right_half(), steps=1).images
    assert [np.array(image)[0, 0] for image in made] == [255, round(30000 / 257)]


WRONG = {
    "image from -1": ({"image": np.linspace(-1, 1, 256).reshape(16, 16)}, "image: pixels from -1 to 1: expected 0 to"),
    "stacked images": ({"image": np.zeros((2, 16, 16), np.uint8)}, r"\(H, W\)"),
    "list in a list": ({"image": [[1]]}, "PIL"),
    "no images": ({"image": []}, "one or more"),
    "photograph as mask": ({"mask": np.random.default_rng(0).random((16, 16, 3))}, "mask: 256 colours"),
    "negative seed": ({"seed": -1}, "seed=-1"),
    "large seed": ({"seed": 2**63}, "2\\^63"),
    "levels": ({"levels": "odd"}, "levels=odd"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_would_mean_something_else_is_refused(digits: Model, name: str) -> None:
    changes, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        fcs.inpaint(digits, **{"image": digit(), "mask": right_half(), "steps": 1, **changes})


def test_boolean_masks_and_numpy_seeds(digits: Model) -> None:
    mask = np.array(right_half())
    plain = fcs.inpaint(digits, digit(), mask, seed=3, steps=1)
    other = fcs.inpaint(digits, digit(), mask > 0, seed=np.int64(3), steps=1)
    assert same(plain.images[0], other.images[0])
    assert other.metrics[0]["seed"] == 3


def test_arrays_are_as_good_as_pictures(digits: Model) -> None:
    picture = fcs.inpaint(digits, digit(), right_half(), steps=STEPS).images[0]
    array = fcs.inpaint(digits, np.array(digit()), np.array(right_half()), steps=STEPS).images[0]
    assert same(picture, array)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_stack_of_masks_is_not_one_mask_of_several_channels(digits: Model, count: int) -> None:
    half = torch.from_numpy(np.array(right_half())) > 0
    images = [digit(0)] * count
    stack = torch.stack([half, *[~half] * (count - 1)])
    with pytest.raises(ValueError, match=rf"mask: a tensor \({count}, 16, 16\) .* expected \({count}, 1, 16, 16\)"):
        fcs.inpaint(digits, images, stack, steps=1)
    made = fcs.inpaint(digits, images, stack[:, None], sampler=Replacement(), steps=1)
    one = fcs.inpaint(digits, images[:1], half[None], sampler=Replacement(), steps=1)
    assert np.abs(np.array(made.images[0]).astype(int) - np.array(one.images[0])).max() <= 1
    assert np.array_equal(np.array(made.images[1])[:, 8:], np.array(images[1])[:, 8:])


def test_without_paste_the_raw_picture_comes_out(digits: Model) -> None:
    raw = np.array(fcs.inpaint(digits, digit(), right_half(), steps=STEPS, paste=False).images[0])
    pasted = np.array(fcs.apply(digits, Inpaint(seam="hard"), digit(), right_half(), steps=STEPS).images[0])
    assert np.array_equal(raw[:, 8:], pasted[:, 8:])
    assert not np.array_equal(raw[:, :8], pasted[:, :8])


@pytest.mark.parametrize(
    ("scale", "shift", "told"), [(1.0, 0.0, True), (2.0, -1.0, False), (5.0, 0.0, False), (0.0, 0.0, False)]
)
def test_a_measurement_that_looks_like_a_picture_is_told(
    digits: Model, scale: float, shift: float, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    picture = torch.from_numpy(np.array(digit()))[None, None] / 255  # as output_type="pt" gives it
    fcs.restore(digits, scale * picture + shift, GaussianBlur(1.0), steps=1, sampler=DDIM(), progress=False)
    found = [record.getMessage() for record in caplog.records]
    assert any("floats from 0 to 0.784 are A of pictures in [-1, 1]" in line for line in found) == told


@pytest.mark.parametrize("resize", ["none", "crop_to_mask"])
def test_pictures_of_nan_are_told(digits: Model, resize: Any, caplog: pytest.LogCaptureFixture) -> None:
    keep = np.zeros((16, 16), np.uint8)
    sampler, images, masks = InexactNewton(step_sizes=[3e38]), [digit(0), digit(1)], [right_half(), keep]
    fcs.inpaint(digits, images, masks, steps=1, sampler=sampler, resize=resize)
    told = [record.getMessage() for record in caplog.records if "not_finite" in record.getMessage()]
    made = "the model gave NaN or infinity; what is generated there means nothing"
    assert told == [f"1 of 2 images: not_finite: {made}"]


def test_other_samplers_and_levels_are_taken(digits: Model) -> None:
    result = fcs.inpaint(digits, digit(), right_half(), steps=STEPS, sampler=Replacement(), levels="paper")
    assert result.metrics[0]["nfe"] == STEPS
    assert np.array_equal(np.array(result.images[0])[:, :8], np.array(digit())[:, :8])


def test_superres_enlarges(digits: Model) -> None:
    small = digit().resize((8, 8), Image.Resampling.BOX)
    result = fcs.superres(digits, small, scale=2, steps=STEPS)
    assert result.images[0].size == (16, 16)
    assert result.metrics[0]["nfe"] == STEPS * 21
    assert result.metrics[0]["psnr"] is None  # there is no truth
    free = fcs.superres(digits, small, scale=2, steps=STEPS, sampler=DDIM())
    assert result.metrics[0]["residual"] < 0.5 * free.metrics[0]["residual"]


def test_sample_makes_as_many_as_asked(digits: Model) -> None:
    result = fcs.sample(digits, 3, seed=1, steps=STEPS)
    assert len(result.images) == 3
    assert not same(*result.images[:2])
    assert [row["seed"] for row in result.metrics] == [1, 2, 3]
    assert result.metrics[0]["psnr"] is None
    assert same(result.images[1], fcs.sample(digits, 3, seed=1, steps=STEPS).images[1])


def test_guidance_holds_for_its_share_of_the_levels(latent_model: Model) -> None:
    size = latent_model.picture_shape[1]
    white, grey = np.full((size, size), 255, np.uint8), np.full((size, size, 3), 127, np.uint8)

    def made(guidance: float, stop: float) -> Image.Image:
        share = {"guidance": guidance, "guidance_stop": stop, "negative_prompt": "blue"}
        return fcs.inpaint(latent_model, grey, white, prompt="red", steps=2, sampler=DDIM(), **share).images[0]

    assert same(made(5.0, 0.0), made(1.0, 1.0))
    assert not same(made(5.0, 0.5), made(1.0, 1.0))
    assert not same(made(5.0, 0.5), made(5.0, 1.0))
    with pytest.raises(ValueError, match="guidance_stop=2"):
        made(5.0, 2.0)


def test_a_latent_model_paints_with_a_prompt(latent_model: Model) -> None:
    picture = Image.fromarray(np.full((64, 64, 3), 90, np.uint8))
    mask = Image.fromarray(np.pad(np.full((64, 32), 255, np.uint8), ((0, 0), (32, 0))))
    red, blue = (fcs.inpaint(latent_model, picture, mask, prompt, steps=2, guidance=3.0) for prompt in ("red", "blue"))
    assert np.array_equal(np.array(red.images[0])[:, :32], np.array(picture)[:, :32])
    assert not same(red.images[0], blue.images[0])
    assert red.metrics[0]["nfe"] == 2 * 11  # both branches of guidance are one call


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": digit().resize((8, 8))}, "image of 8x8 pixels: expected 16x16"),
        ({"mask": right_half().resize((16, 8))}, "mask of 16x8 pixels: expected 16x16"),
        ({"image": [digit()] * 3, "mask": [right_half()] * 2}, "3 images, 2 masks"),
        ({"prompt": ["a", "b"]}, "1 images, 1 masks, 2 prompts"),
        ({"seed": [1, 2]}, "2 seeds"),
        ({"steps": 1001}, "steps=1001"),
        ({"guidance": 2.0}, "guidance=2"),
    ],
)
def test_what_does_not_fit_is_said(digits: Model, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fcs.inpaint(digits, **({"image": digit(), "mask": right_half(), "steps": STEPS} | changes))


def test_style_makes_a_picture_of_the_models_size(latent_model: Model, tiny_clip: Path) -> None:
    _, height, width = latent_model.picture_shape
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8)) for _ in range(2)]
    result = fcs.style(latent_model, pictures, ["red", "red"], clip=str(tiny_clip), steps=2, seed=[3, 3])
    assert [image.size for image in result.images] == [(width, height)] * 2
    assert all(metrics["psnr"] is None for metrics in result.metrics)
    assert result.images[0].tobytes() != result.images[1].tobytes()


def test_any_task_goes_through_apply_as_through_its_own_call(digits: Model) -> None:
    own = fcs.inpaint(digits, digit(), right_half(), seed=4, steps=STEPS)
    same_task = fcs.apply(digits, Inpaint(), digit(), right_half(), seed=4, steps=STEPS)
    assert same(own.images[0], same_task.images[0])
    assert own.metrics == same_task.metrics
    assert own.further == {}
    with pytest.raises(ValueError, match="mask=None: expected one for task=inpaint"):
        fcs.apply(digits, Inpaint(), digit())
    black = fcs.apply(digits, Inpaint(), mask=right_half(), steps=1)
    assert not np.array(black.images[0])[:, :8].any()


def test_restoring_comes_nearer_to_the_measurement(digits: Model) -> None:
    blurred, free = (
        fcs.restore(digits, digit(), GaussianBlur(1.0), steps=STEPS, degrade=True, sampler=sampler).metrics[0]
        for sampler in (None, DDIM())
    )
    assert blurred["residual"] < 0.5 * free["residual"]
    assert blurred["psnr"] > free["psnr"]
    assert blurred["nfe"] == STEPS * 21
    assert fcs.restore(digits, digit(), GaussianBlur(1.0), steps=1).metrics[0]["psnr"] is None  # no truth


def test_pixels_are_known_by_a_mask_or_by_an_operator(digits: Model) -> None:
    hidden = np.random.default_rng(0).random((16, 16)) > 0.5
    by_mask = fcs.apply(
        digits, KnownPixels(), digit(), hidden, steps=STEPS, sampler=InexactNewton(step_sizes=[0.1] * 10)
    )
    given = torch.from_numpy(~hidden).float()[None, None]
    by_operator = fcs.restore(digits, digit(), Pixels(given), steps=STEPS, degrade=True)
    assert same(by_mask.images[0], by_operator.images[0])


def test_layers_give_both_pictures_and_the_mask(digits: Model) -> None:
    task, pictures = Layers(rounds=1, samples=2), [digit(0), digit(3)]
    result = fcs.layers(digits, pictures, task=task, steps=1)
    assert {name: len(made) for name, made in result.further.items()} == {"layer1": 2, "layer2": 2, "mask": 2}
    for i, picture in enumerate(pictures):
        one, two, mask = (np.array(result.further[name][i]).astype(float) for name in ("layer1", "layer2", "mask"))
        assert np.abs(mask / 255 * one + (1 - mask / 255) * two - np.array(picture)).max() <= 1
        assert result.metrics[i]["nfe"] == task.calls(InexactNewton(), 1)
        assert result.metrics[i]["iou"] is None
    begun = fcs.layers(digits, pictures, mask=right_half(), task=Layers(rounds=0), steps=1)
    assert same(begun.further["mask"][0], right_half())


def test_layers_take_a_pair_of_prompts_or_one_an_image(latent_model: Model, digits: Model) -> None:
    pictures = [Image.fromarray(np.full((64, 64, 3), grey, np.uint8)) for grey in (90, 160)]
    options = {"task": Layers(rounds=0, paste=False), "steps": 1, "sampler": DDIM(), "guidance": 3.0}
    one = fcs.layers(latent_model, pictures, ("red", "ap"), **options)
    each = fcs.layers(latent_model, pictures, [("red", "ap"), ("red", "red")], **options)
    assert same(one.further["layer2"][0], each.further["layer2"][0])
    assert not same(one.further["layer2"][1], each.further["layer2"][1])
    assert same(one.further["layer1"][1], each.further["layer1"][1])
    with pytest.raises(ValueError, match="2 images, 1 pairs of prompts"):
        fcs.layers(latent_model, pictures, [("red", "ap")], **options)
    with pytest.raises(ValueError, match="image 1: bad_layers: "):
        fcs.layers(latent_model, pictures, [("red", "ap"), ("red",)], **options)
    for text in ("ab", "a cat", [("a", "b"), "ab"]):
        with pytest.raises(ValueError, match=r"prompts=.*: expected two texts, one a layer"):
            fcs.layers(latent_model, pictures, text, **options)
    with pytest.raises(ValueError, match="model without prompts"):
        fcs.layers(digits, digit(), ("a", "b"))


def test_style_takes_a_mask(latent_model: Model, tiny_clip: Path) -> None:
    _, height, width = latent_model.picture_shape
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8))
    mask = np.zeros((height, width), bool)
    mask[:, : width // 2] = True
    whole, part = (fcs.style(latent_model, picture, "red", str(tiny_clip), steps=1, mask=m) for m in (None, mask))
    assert not same(whole.images[0], part.images[0])
