"""Style: the Gram matrix of CLIP's patch tokens is the published one; its error points downhill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.batches import batch, images
from helpers.networks import Flat
from PIL import Image

from fcs.core.errors import UsageError
from fcs.core.images import to_float
from fcs.core.records import Record
from fcs.models.clip import ImageTower, gram
from fcs.tasks import Style
from fcs.tasks.style import SameGram

SIDE = 32


def test_gram_is_the_sum_of_outer_products() -> None:
    tokens = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = sum(tokens[:, p, :, None] * tokens[:, p, None, :] for p in range(5))
    torch.testing.assert_close(gram(tokens), expected)
    half = torch.tensor([[1.0, 1, 0, 0, 0]] * 2, dtype=torch.float64)
    torch.testing.assert_close(gram(tokens, half), gram(tokens[:, :2]))


def test_tokens_are_a_blocks_output_without_the_class(tiny_clip: Path) -> None:
    tower, pictures = ImageTower(tiny_clip), to_float(images(2, SIDE))
    tokens = tower.tokens(pictures, 3)
    assert tokens.shape == (2, 16, 16)
    deeper = tower.tokens(pictures, 2)
    with torch.no_grad():
        layer = tower.tower.encoder.layers[2]
        state = tower.tower(tower._pixels(pictures), output_hidden_states=True).hidden_states[2]
        following = layer(state, attention_mask=None)
    following = following[0] if isinstance(following, tuple) else following
    torch.testing.assert_close(tokens, following[:, 1:])
    torch.testing.assert_close(deeper, state[:, 1:])


def test_pictures_of_any_size_are_brought_to_the_towers(tiny_clip: Path) -> None:
    embedded = ImageTower(tiny_clip).embed(to_float(images(2, 64)))
    assert embedded.shape == (2, 8)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(2))


def test_the_style_picture_itself_meets_the_constraint(tiny_clip: Path) -> None:
    pictures = batch(images(2, SIDE))
    constraint = Style(str(tiny_clip)).constraint(pictures, Flat(1, SIDE))
    own, other = to_float(pictures.images), to_float(images(2, SIDE, seed=1))
    assert (constraint.residual(own) < 1e-5).all()
    assert (constraint.residual(other) > 1e-2).all()
    assert constraint.error(own).isfinite().all()


def test_a_small_step_along_the_error_comes_nearer(tiny_clip: Path) -> None:
    constraint = Style(str(tiny_clip)).constraint(batch(images(2, SIDE)), Flat(1, SIDE))
    x0 = 0.5 * to_float(images(2, SIDE, seed=1))
    error = constraint.error(x0)
    step = 1e-2 * error / error.abs().amax((1, 2, 3), keepdim=True)
    assert (constraint.loss(x0 + step) < constraint.loss(x0)).all()


def test_style_inside_a_region_asks_nothing_of_patches_outside(tiny_clip: Path) -> None:
    masks = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.uint8)
    masks[..., : SIDE // 2] = 255
    pictures = batch(images(2, SIDE), masks)
    pictures = replace(pictures, records=tuple(Record(i, str(i), mask=masks[i]) for i in range(2)))
    constraint = Style(str(tiny_clip)).constraint(pictures, Flat(1, SIDE))
    weights = constraint.weights  # type: ignore[attr-defined]
    assert weights.shape == (2, 16)
    assert weights.reshape(2, 4, 4)[..., :2].eq(1).all()
    assert weights.reshape(2, 4, 4)[..., 2:].eq(0).all()


def test_tokens_outside_the_region_have_no_gradient() -> None:
    tokens = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([[1.0, 1, 0.5, 0, 0, 0], [0, 0, 0, 0, 1, 1]])
    constraint = SameGram(torch.eye(4).expand(2, 4, 4), lambda x: x, lambda x: x, weights)
    error = constraint.error(tokens)
    assert error[weights == 0].eq(0).all()
    assert error[weights > 0].ne(0).all()


def test_a_region_asks_for_the_whole_styles_statistics_by_its_share(tiny_clip: Path) -> None:
    masks = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.uint8)
    masks[0, ..., : SIDE // 2], masks[1, ..., : SIDE // 4, : SIDE // 4] = 255, 255
    pictures = batch(images(2, SIDE), masks)
    pictures = replace(pictures, records=tuple(Record(i, str(i), mask=masks[i]) for i in range(2)))
    constraint = Style(str(tiny_clip)).constraint(pictures, Flat(1, SIDE))
    whole = gram(ImageTower(tiny_clip).tokens(to_float(pictures.images), 3))
    torch.testing.assert_close(constraint.target[0], whole[0] / 2)  # type: ignore[attr-defined]
    torch.testing.assert_close(constraint.target[1], whole[1] / 16)  # type: ignore[attr-defined]


def test_a_record_without_a_mask_takes_the_style_everywhere(tiny_clip: Path) -> None:
    masks = torch.full((2, 1, SIDE, SIDE), 255, dtype=torch.uint8)
    masks[1, ..., : SIDE // 2] = 0
    pictures = batch(images(2, SIDE), masks)
    records = (Record(0, "0"), Record(1, "1", mask=masks[1]))
    mixed = Style(str(tiny_clip)).constraint(replace(pictures, records=records), Flat(1, SIDE))
    plain = Style(str(tiny_clip)).constraint(pictures, Flat(1, SIDE))
    x0 = to_float(images(2, SIDE, seed=1))
    torch.testing.assert_close(mixed.loss(x0)[0], plain.loss(x0)[0])
    assert (mixed.loss(x0)[1] - plain.loss(x0)[1]).abs() > 1e-2


def test_another_block_is_another_style(tiny_clip: Path) -> None:
    pictures, x0 = batch(images(2, SIDE)), to_float(images(2, SIDE, seed=1))
    losses = [Style(str(tiny_clip), block).constraint(pictures, Flat(1, SIDE)).loss(x0) for block in (1, 2, 3)]
    tower = ImageTower(tiny_clip)
    for block, loss in enumerate(losses, 1):
        gap = gram(tower.tokens(to_float(pictures.images), block)) - gram(tower.tokens(x0, block))
        torch.testing.assert_close(loss, gap.flatten(1).norm(dim=1))
    assert not torch.allclose(losses[0], losses[1])


def test_named_pictures_replace_the_records_own(tiny_clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "style.png"
    style = images(1, 2 * SIDE, 4)[0]
    Image.fromarray(style.permute(1, 2, 0).numpy()).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
    task, model = Style(str(tiny_clip), pictures=[str(path)]), Flat(1, SIDE)
    own = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
    constraint = task.constraint(batch(images(2, SIDE)), model)
    assert (constraint.residual(to_float(own.unsqueeze(0)).expand(2, -1, -1, -1)) < 1e-5).all()


def test_a_named_picture_is_read_as_a_records_is(tiny_clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    clear = Image.new("RGBA", (SIDE, 2 * SIDE), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (0, 0, SIDE, SIDE))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    clear.save(path, exif=exif)
    (style,) = Style(str(tiny_clip), pictures=[str(path)])._styles_of(Flat(1, SIDE))
    assert style.shape == (1, 3, SIDE, SIDE)
    assert style[0, :, 0, 0].tolist() == [1, 1, 1]  # transparency is white
    assert style[0, :, -1, -1].tolist() == [1, -1, -1]  # and the red part is below


def test_styles_are_mixed_by_weight(tiny_clip: Path, tmp_path: Path) -> None:
    files = []
    for seed in (1, 2):
        path = tmp_path / f"{seed}.png"
        Image.fromarray(images(1, SIDE, seed)[0].permute(1, 2, 0).numpy()).save(path)
        files.append(str(path))
    pictures, model, x0 = batch(images(2, SIDE)), Flat(1, SIDE), to_float(images(2, SIDE, seed=3))
    one, two = (Style(str(tiny_clip), pictures=[file]).constraint(pictures, model).loss(x0) for file in files)
    both = Style(str(tiny_clip), pictures=files, weights=[0.25, 2.0]).constraint(pictures, model).loss(x0)
    torch.testing.assert_close(both, 0.25 * one + 2.0 * two)


def test_what_cannot_be_is_one_line(tiny_clip: Path, tmp_path: Path) -> None:
    pictures, model = batch(images(1, SIDE)), Flat(1, SIDE)
    with pytest.raises(UsageError, match=r"task\.block=0"):
        Style(block=0)
    with pytest.raises(UsageError, match=r"task\.block=4: expected 1 to 3"):
        Style(str(tiny_clip), block=4).constraint(pictures, model)
    with pytest.raises(UsageError, match=r"task\.weights"):
        Style(pictures=["a.png"], weights=[1.0, 2.0])
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=r"task\.weights=.*above 0"):
            Style(pictures=["a.png", "b.png"], weights=[1.0, weight])
    with pytest.raises(UsageError, match="expected a folder with a CLIP"):
        Style(str(tmp_path)).constraint(pictures, model)
    with pytest.raises(UsageError, match=r"task\.pictures=.*a\.png"):
        Style(str(tiny_clip), pictures=[str(tmp_path / "a.png")]).constraint(pictures, model)
