"""Scores of pictures: closed forms, and null where a score does not exist."""

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from fcs.metrics.features import RandomFeatures
from fcs.metrics.image_scores import NAMES, scores
from fcs.metrics.seam import seam
from fcs.metrics.ssim import local_ssim


def pictures(seed: int, n: int = 3, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def right(n: int = 3, size: int = 16) -> Tensor:
    mask = torch.zeros(n, 1, size, size, dtype=torch.uint8)
    mask[..., size // 2 :] = 255
    return mask


def decibel(a: Tensor, b: Tensor) -> float:
    return 10 * math.log10(255**2 / (a.double() - b.double()).square().mean().item())


def test_psnr_is_its_closed_form_row_by_row() -> None:
    made, truth = pictures(0), pictures(1)
    for i, row in enumerate(scores(made, truth, None)):
        assert row["psnr"] == pytest.approx(decibel(made[i], truth[i]), abs=1e-3)
        assert row["psnr_generated"] == pytest.approx(row["psnr"], abs=1e-3)  # no mask: all was generated


def test_one_grey_value_off_is_48_decibel() -> None:
    truth = pictures(0).clamp(1)
    assert scores(truth - 1, truth, None)[0]["psnr"] == pytest.approx(20 * math.log10(255), abs=1e-3)


def test_psnr_generated_counts_the_generated_part_alone() -> None:
    made, truth, mask = pictures(0), pictures(1), right()
    mask[..., 8] = 1  # grey is generated too
    before = scores(made, truth, mask)
    for i in range(3):
        expected = decibel(made[i, ..., 8:], truth[i, ..., 8:])
        assert before[i]["psnr_generated"] == pytest.approx(expected, abs=1e-3)
    made[..., :8] = truth[..., :8]
    after = scores(made, truth, mask)
    for i in range(3):
        assert after[i]["psnr_generated"] == before[i]["psnr_generated"]
        assert after[i]["psnr"] > before[i]["psnr"] + 2


def test_equal_pictures_have_no_psnr_and_full_ssim() -> None:
    made, truth = pictures(0), pictures(0)
    made[1] = pictures(1)[1]
    rows = scores(made, truth, right())
    assert rows[0]["psnr"] is None
    assert rows[0]["psnr_generated"] is None
    assert rows[0]["ssim"] == pytest.approx(1)
    assert rows[1]["psnr"] is not None
    assert rows[1]["ssim"] < 0.5


def test_nothing_generated_has_no_psnr_generated() -> None:
    row = scores(pictures(0), pictures(1), torch.zeros_like(right()))[0]
    assert row["psnr_generated"] is None
    assert row["psnr"] is not None


def test_no_reference_has_no_scores() -> None:
    assert scores(pictures(0), None, None) == [dict.fromkeys(NAMES)] * 3
    for row in scores(pictures(0), None, right()):
        assert row["seam"] is not None
        assert [name for name, value in row.items() if value is not None] == ["seam"]


@pytest.mark.parametrize("turned", [False, True])
def test_a_step_at_the_border_is_the_seam(turned: bool) -> None:
    mask, ramp = right(2), torch.arange(16).mul(3).expand(2, 3, 16, 16).byte()
    stepped = torch.where(mask > 0, ramp + 20, ramp)
    if turned:
        mask, ramp, stepped = mask.mT, ramp.mT, stepped.mT
    assert seam(ramp, mask).tolist() == [0, 0]
    assert seam(stepped, mask).tolist() == [20, 20]


def test_a_border_through_noise_is_no_seam() -> None:
    noise = pictures(0, n=1, size=256)
    assert seam(noise, right(1, 256)).abs().item() < 9  # of jumps of 85 in the mean


def test_no_border_has_no_seam() -> None:
    assert seam(pictures(0), torch.full((3, 1, 16, 16), 255, dtype=torch.uint8)).isnan().all()


@pytest.mark.parametrize("shape", [(2, 3, 40, 52), (1, 1, 11, 30)])
def test_ssim_is_that_of_torchmetrics(shape: tuple[int, ...]) -> None:
    """In float64, where both round alike; flat parts are where a variance may round below 0."""
    generator = torch.Generator().manual_seed(2)
    truth = torch.rand(shape, generator=generator, dtype=torch.float64)
    truth[..., :15] = 0.5
    made = (truth + 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    made[..., :8] = 0.5
    _, theirs = structural_similarity_index_measure(
        made, truth, data_range=1.0, reduction="none", return_full_image=True
    )
    torch.testing.assert_close(local_ssim(made, truth), theirs, rtol=0, atol=1e-9)  # 1e-16 over the constant C2


def test_small_pictures_have_no_ssim() -> None:
    row = scores(pictures(0, size=10), pictures(1, size=10), None)[0]
    assert row["ssim"] is None
    assert row["psnr"] is not None


def test_ssim_is_each_rows_own() -> None:
    made, truth = pictures(0), pictures(1)
    alone = scores(made[1:2], truth[1:2], None)[0]
    assert scores(made, truth, None)[1] == pytest.approx(alone, abs=1e-5)


def test_random_features_depend_on_their_seed_alone() -> None:
    images = pictures(0)[:, :1].float() / 127.5 - 1
    torch.manual_seed(1)
    first = RandomFeatures(1).features(images)
    torch.manual_seed(2)
    assert torch.equal(RandomFeatures(1).features(images), first)
    assert not torch.equal(RandomFeatures(1, seed=1).features(images), first)
