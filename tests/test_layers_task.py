"""Layer inference: a mask found between two exact priors, layers that compose to the picture, bad prompts named."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import build_layers
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from emoji.dataset import Dataset, Entry
from helpers.gaussian import Gaussian
from PIL import Image
from torch import Tensor, nn

from fcs.core.collate import collate
from fcs.core.compositing import PixelMoments, blur, compose, composing
from fcs.core.denoiser import Denoiser, Guided
from fcs.core.errors import UsageError
from fcs.core.images import to_uint8
from fcs.core.records import Batch, Record
from fcs.engine.encode_results import ResultEncoder
from fcs.models import Model, Schedule
from fcs.samplers import InexactNewton, Sampler
from fcs.shards.input.whole_tar import members_by_key
from fcs.tasks import Layers
from fcs.tasks.pipeline import Pipeline
from fcs.tools.cli.predict import main

SIDE, STEPS = 12, 5


class TwoPriors(nn.Module):
    """A flow network with two Gaussian priors in closed form: constant rows (cond 0), constant columns (cond 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.device = nn.Parameter(torch.zeros(1))
        one, all_alike = torch.eye(SIDE, dtype=torch.float64), torch.ones(SIDE, SIDE, dtype=torch.float64)
        small = 0.02**2 * torch.eye(SIDE**2, dtype=torch.float64)
        kinds = torch.kron(one, all_alike), torch.kron(all_alike, one)
        self.priors = [Gaussian((1, SIDE, SIDE), 0.25 * kind + small) for kind in kinds]
        self.jacobians: dict[float, Tensor] = {}  # by level

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        sigma = t[0].item() / 1000
        if sigma not in self.jacobians:
            found = [prior.jacobian(1 - sigma, sigma).float() for prior in self.priors]
            self.jacobians[sigma] = torch.stack(found)
        x0 = (self.jacobians[sigma][cond] @ x.flatten(1).unsqueeze(2)).reshape(x.shape)
        return (x - (1 - sigma) * x0) / sigma - x0


class Stripes(Model):
    """Pictures of rows or of columns, as the prompt says."""

    prompted = True

    def __init__(self) -> None:
        shape = (1, SIDE, SIDE)
        super().__init__(Denoiser(TwoPriors(), "flow"), Schedule(None), shape, shape)

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, z: Tensor) -> Tensor:
        return z

    def guided(self, prompts: Sequence[str], negative: str = "", scale: float = 1.0) -> Guided:
        return Guided(self.denoiser, torch.tensor([int(prompt == "columns") for prompt in prompts]))


@pytest.fixture(scope="module")
def stripes() -> Model:
    return Stripes()


def composed(count: int = 3) -> tuple[Tensor, Tensor]:
    """Discs of rows over columns, and the discs."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = (0.5 * torch.randn(count, 1, *shape, generator=generator) for shape in ((SIDE, 1), (1, SIDE)))
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    discs = torch.stack([((y - 5 - i) ** 2 + (x - 5) ** 2 < 20)[None] for i in range(count)]).float()
    return to_uint8(compose(discs, rows, columns)), (255 * discs).byte()


def batch(layers: object = ("rows", "columns"), masks: bool = True, seeds: Sequence[int] = (0, 1, 2)) -> Batch:
    pictures, discs = composed()
    extra = {} if layers is None else {"layers": list(layers) if isinstance(layers, tuple) else layers}
    records = [
        Record(i, f"r{i}", pictures[i], discs[i] if masks else None, "rows", extra, seed=seed)
        for i, seed in enumerate(seeds)
    ]
    return collate("shard", 0, records, (1, SIDE, SIDE), 0)


def solver(model: Model, task: Layers | None = None, sampler: Sampler | None = None) -> Pipeline:
    return Pipeline(model, task or Layers(truth=True, prior=0.5, rounds=4), sampler or InexactNewton(), STEPS)


def test_the_true_mask_is_found_between_two_exact_priors(stripes: Model) -> None:
    result = solver(stripes)(batch())
    assert all(score["iou"] > 0.7 for score in result.scores), result.scores
    blind = solver(stripes, Layers(truth=True, prior=0.5, rounds=0))(batch())
    assert all(score["iou"] < 0.5 for score in blind.scores)
    # The other way round the layers change places, and with them the mask.
    turned = solver(stripes)(batch(("columns", "rows")))
    assert all(score["iou"] < 0.3 for score in turned.scores)


def test_what_is_written_composes_to_the_picture(stripes: Model) -> None:
    given = batch()
    result = solver(stripes)(given)
    mask, one, two = (result.further[name].float() for name in ("mask", "layer1", "layer2"))
    assert mask.shape == (3, 1, SIDE, SIDE)
    assert ((compose(mask / 255, one, two) - given.images.float()).abs() <= 1).all()
    assert ((result.images.float() - given.images.float()).abs() <= 1).all()
    # Each layer is whole: where the mask gives it nothing, it is made by its prior.
    hidden = mask < 10
    roughness = (one[..., 1:] - one[..., :-1]).abs()[hidden[..., 1:] & hidden[..., :-1]].mean()
    assert roughness < 0.5 * (two[..., 1:] - two[..., :-1]).abs().mean()  # the first is of rows, the second of columns


def test_without_paste_the_raw_layers_miss_by_the_residual(stripes: Model) -> None:
    given = batch()
    task = Layers(truth=True, prior=0.5, rounds=2, paste=False)
    result = solver(stripes, task)(given)
    missed = (result.images.float() - given.images.float()).square().mean((1, 2, 3)).sqrt() / 127.5
    torch.testing.assert_close(missed, torch.tensor(result.residuals), rtol=0, atol=0.01)
    assert (missed > 0.01).all()


def test_a_record_is_its_own_whatever_is_beside_it(stripes: Model) -> None:
    given, task = batch(), Layers(rounds=1, truth=True)
    whole, again = solver(stripes, task)(given), solver(stripes, task)(given)
    order = [2, 0, 1]
    turned = replace(
        given,
        records=tuple(given.records[i] for i in order),
        images=given.images[order],
        masks=given.masks[order],
        seeds=tuple(given.seeds[i] for i in order),
    )
    moved = solver(stripes, task)(turned)
    for name, pictures in whole.further.items():
        assert torch.equal(pictures, again.further[name])
        assert torch.equal(pictures[order], moved.further[name])
    other = solver(stripes, task)(batch(seeds=(7, 1, 2)))
    assert not torch.equal(whole.further["mask"][0], other.further["mask"][0])
    assert torch.equal(whole.further["mask"][1:], other.further["mask"][1:])


def test_calls_are_all_counted_and_each_is_watched(stripes: Model) -> None:
    task, sampler, watched = Layers(rounds=2, samples=3), InexactNewton(step_sizes=[0.5, 0.2], restarts=1), []
    result = solver(stripes, task, sampler)(batch(), lambda: watched.append(1))
    assert result.calls == (len(watched),) * 3 == (task.calls(sampler, STEPS),) * 3


def test_a_batch_can_be_cut_between_two_calls(stripes: Model) -> None:
    seen = []

    def watch() -> None:
        seen.append(1)
        if len(seen) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solver(stripes)(batch(), watch)
    assert len(seen) == 7


def test_the_records_mask_is_where_it_begins_or_the_truth(stripes: Model) -> None:
    given = batch()
    begun = solver(stripes, Layers(rounds=0))(given)
    assert torch.equal(begun.further["mask"], given.masks)
    assert [score["iou"] for score in begun.scores] == [None] * 3
    true = solver(stripes, Layers(rounds=0, truth=True))(given)
    assert (true.further["mask"] == 128).all()
    assert solver(stripes, Layers(rounds=0, truth=True))(batch(masks=False)).scores[0]["iou"] is None


def test_prompts_come_from_the_record_then_the_task_then_the_caption(stripes: Model) -> None:
    def prompts(task: Layers, layers: object) -> tuple[str, str]:
        return task._prompts(batch(layers))[0][0]

    assert prompts(Layers(["a", "b"]), ("c", "d")) == ("c", "d")
    assert prompts(Layers(["a", "b"]), None) == ("a", "b")
    assert prompts(Layers(), None) == ("rows", "")


@pytest.mark.parametrize("layers", [["one"], "both", [1, 2], {"a": "b"}, ["a", "b", "c"], ["a", "\ud83d"]])
def test_other_prompts_fail_their_record_alone(stripes: Model, layers: object) -> None:
    given = batch()
    bad = replace(given.records[1], extra={"layers": layers})  # type: ignore[type-var]
    given = replace(given, records=(given.records[0], bad, given.records[2]))
    task = Layers(rounds=0)
    rows = ResultEncoder(task, "jpg", False, {}).rows(given, solver(stripes, task)(given))
    assert [row.error is None for row in rows] == [True, False, True]
    assert rows[1].error.startswith("bad_layers: ")  # type: ignore[union-attr]
    names = [name for name, _ in rows[0].members]
    assert names == ["r0.jpg", "r0.json", "r0.layer1.png", "r0.layer2.png", "r0.mask.png"]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("prompts", (["a"], ["a", "b", "c"], [])),
        ("rounds", (-1,)),
        ("samples", (1, 0)),
        ("depth", (0.0, 1.5, math.nan)),
        ("prior", (0.0, 1.0, math.nan)),
        ("cell", (0,)),
        ("floor", (0.0, math.nan)),
        ("smooth", (-1.0, math.nan)),
        ("erode", (-1,)),
    ],
)
def test_a_number_outside_its_range_is_one_line(key: str, values: tuple) -> None:
    for value in values:
        with pytest.raises(UsageError, match=rf"task\.{key}="):
            Layers(**{key: value})


def test_prompts_for_a_model_without_any_are_refused(stripes: Model) -> None:
    Layers(["a", "b"]).check_fit(stripes.picture_shape, stripes.prompted)
    silent = Stripes()
    silent.prompted = False
    with pytest.raises(UsageError, match=r"task\.prompts=.*model without prompts"):
        Layers(["a", "b"]).check_fit(silent.picture_shape, silent.prompted)


def test_the_main_job_writes_both_layers_the_mask_and_its_score(digits_shard: Path, tmp_path: Path) -> None:
    numbers = ["task.rounds=1", "task.samples=2", "task.truth=true", "steps=1", "sampler.step_sizes=[0.5]"]
    data = [f"data.shards={digits_shard}", "data.limit=3", "data.batch_size=3", "data.workers=1"]
    out = tmp_path / "run"
    assert main(["--config", "digits_inpaint", "task=layers", *numbers, *data, f"out={out}"]) == 0
    rows = pq.read_table(out / "metrics" / "mixed.parquet").to_pylist()
    written = members_by_key(out / "shards" / "mixed.tar")
    assert len(rows) == len(written) == 3
    for row in rows:
        assert 0 <= row["iou"] <= 1
        assert row["nfe"] == 2 * (2 * 3 + 3)
        members = written[row["key"]]
        assert json.loads(members["json"])["fcs"]["scores"]["iou"] == pytest.approx(row["iou"])
        names = ("png", "mask.png", "layer1.png", "layer2.png")
        made, mask, one, two = (np.array(Image.open(io.BytesIO(members[name])), float) for name in names)
        assert np.abs(compose(mask / 255, one, two) - made).max() <= 1


# The job that makes composed emoji


def glyphs() -> Dataset:
    """A red disc, a green square and a blue bar, in straight alpha."""
    y, x = np.mgrid[:136, :136]
    shapes = [(y - 68) ** 2 + (x - 68) ** 2 < 1600, (abs(y - 68) < 40) & (abs(x - 68) < 40), abs(y - 68) < 15]
    bitmaps = np.zeros((3, 136, 136, 4), np.uint8)
    for i, shape in enumerate(shapes):
        bitmaps[i, shape, i], bitmaps[i, shape, 3] = 255, 255
    entries = [Entry(f"k{i}", name, (i,), False, i, "train", 0.0) for i, name in enumerate(("disc", "square", "bar"))]
    return Dataset(entries, bitmaps, "none")


@pytest.mark.parametrize("behind", [None, 1])
def test_composed_emoji_have_a_true_mask(behind: int | None) -> None:
    renderer = glyphs().renderer()
    picture, mask = build_layers.composed(renderer, 0, behind, seed=3)
    inside, outside = mask[0] == 255, mask[0] == 0
    assert inside.sum() > 20
    assert outside.sum() > 2000
    own = torch.tensor([[255.0], [0], [0]])  # the disc's colour, whatever is behind
    assert ((picture[:, inside] - own).abs() <= 1).all()
    other, _ = build_layers.composed(renderer, 0, behind, seed=4)
    assert not torch.equal(picture, other)
    green = ((picture[1] > 250) & (picture[[0, 2]] < 5).all(0)).sum()
    assert (green > 50) == (behind is not None)


def test_composed_shards_are_read_as_records(tmp_path: Path) -> None:
    first, again = tmp_path / "a.tar", tmp_path / "b.tar"
    assert build_layers.write(first, glyphs(), "train", True, 2, 0) == 2
    build_layers.write(again, glyphs(), "train", True, 2, 0)
    assert first.read_bytes() == again.read_bytes()
    for key, members in members_by_key(first).items():
        front, behind = key.split("-over-")
        names = {entry.key: entry.prompt for entry in glyphs().entries}
        assert json.loads(members["json"]) == {"layers": [names[front], names[behind]]}
        assert members["txt"].decode() == names[front]
        assert front != behind
        assert Image.open(io.BytesIO(members["mask.png"])).mode == "L"


# The mathematics of composition


def test_a_pixel_is_judged_by_the_samples_that_did_not_have_it() -> None:
    moments = PixelMoments()
    for value, hidden in ((1.0, 1.0), (2.0, 1.0), (100.0, 0.0)):  # the third was given the pixel
        moments.add(torch.full((1, 1, 1, 1), value), torch.full((1, 1, 1, 1), hidden))
    # mean 1.5, variance .25, and .01 of the floor; x = 2.0
    expected = -0.5 * (0.5**2 / 0.26 + math.log(0.26))
    got = moments.log_likelihood(torch.full((1, 1, 1, 1), 2.0), 0.1).item()
    assert got == pytest.approx(expected, rel=1e-5)


def test_channels_add_their_evidence_and_no_sample_is_none() -> None:
    moments, hidden = PixelMoments(), torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    moments.add(torch.zeros(1, 3, 1, 2), hidden)
    got = moments.log_likelihood(torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1), 0.5)
    expected = sum(-0.5 * (x**2 / 0.25 + math.log(0.25)) for x in (0.1, 0.2, 0.3))
    assert got.flatten().tolist() == pytest.approx([expected, 0.0])


def test_the_nearest_layers_that_compose_to_the_picture() -> None:
    generator = torch.Generator().manual_seed(1)
    picture = 2 * torch.rand(4, 3, 8, 8, generator=generator, dtype=torch.float64) - 1
    mask = torch.rand(4, 1, 8, 8, generator=generator, dtype=torch.float64)
    mask[0], mask[1], mask[2, ..., :4] = 0.0, 1.0, 0.5
    picture[3, ..., :2] = 1.0  # where both layers must be white
    one, two = (0.8 * torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    first, second = composing(picture, mask, one, two)
    torch.testing.assert_close(compose(mask, first, second), picture, rtol=0, atol=1e-6)
    assert max(first.abs().max(), second.abs().max()) <= 1
    torch.testing.assert_close(first[0], one[0].clamp(-1, 1))  # m = 0 says nothing of it
    torch.testing.assert_close(second[1], two[1].clamp(-1, 1))
    # Away from the bounds it is the orthogonal projection: both move by their share of what is missing.
    small = composing(0.1 * picture[:3], mask[:3], 0.1 * one[:3].clamp(-2, 2), 0.1 * two[:3].clamp(-2, 2))
    moves = small[0] - 0.1 * one[:3].clamp(-2, 2), small[1] - 0.1 * two[:3].clamp(-2, 2)
    inner = ((mask > 0.3) & (mask < 0.7))[:3].expand_as(moves[0])
    torch.testing.assert_close(((1 - mask[:3]) * moves[0])[inner], (mask[:3] * moves[1])[inner], rtol=0, atol=1e-6)


def test_blur_is_a_mean_of_neighbours() -> None:
    values = torch.randn(2, 1, 9, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(blur(values, 0.0), values)
    torch.testing.assert_close(blur(torch.full_like(values, 3.0), 1.5), torch.full_like(values, 3.0))
    point = torch.zeros(1, 1, 9, 9)
    point[..., 4, 4] = 1
    around = blur(point, 1.0)[0, 0]
    assert around[4, 5] / around[4, 4] == pytest.approx(math.exp(-0.5), rel=1e-4)
    torch.testing.assert_close(around, around.T)
