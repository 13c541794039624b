"""What tunes a model for inpainting: what learns, what is written, and that both are one network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from emoji.inpaint import MOST, changed, deltas, merged, random_masks, tunable, widened, write_model
from torch import Tensor

from fcs.models import find, load
from fcs.models.inpainting import StableDiffusionInpaint


@pytest.fixture
def unet(tiny_sd: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(tiny_sd / "unet").float().eval()


def noise(channels: int) -> Tensor:
    return torch.randn(1, channels, 16, 16, generator=torch.Generator().manual_seed(channels))


def out(unet: UNet2DConditionModel, x: Tensor) -> Tensor:
    states = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return unet(x, torch.tensor([500.0]), states).sample


def tuned(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """As after some training."""
    found = tunable(widened(unet), 2).eval()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        found.conv_in.weight += 0.1 * torch.randn_like(found.conv_in.weight)
        for _, change in changed(found):
            change.up += 0.1 * torch.randn_like(change.up)
    return found


def test_at_first_the_new_channels_are_not_seen(unet: UNet2DConditionModel) -> None:
    x = noise(4)
    for wide in (widened(unet), tunable(widened(unet), 2).eval()):
        torch.testing.assert_close(out(wide, torch.cat([x, noise(5)], 1)), out(unet, x))


def test_what_learns_is_what_is_written(unet: UNet2DConditionModel) -> None:
    found = tuned(unet)
    learns = sum(weight.numel() for weight in found.parameters() if weight.requires_grad)
    written = deltas(found)
    assert sum(value.numel() for value in written.values()) == learns
    assert all(value.dtype == torch.float16 for value in written.values())
    x = noise(9)
    torch.testing.assert_close(out(merged(unet, written), x), out(found, x), rtol=0.01, atol=0.01)
    assert not torch.allclose(out(found, x), out(widened(unet), x), atol=0.1)


def test_a_folder_that_loads(unet: UNet2DConditionModel, tiny_sd: Path, tmp_path: Path) -> None:
    written = deltas(tuned(unet))
    write_model(tiny_sd, written, tmp_path / "model")
    model = load(find(str(tmp_path / "model")))
    assert isinstance(model, StableDiffusionInpaint)
    x = noise(9)
    torch.testing.assert_close(out(model.denoiser.network.unet, x), out(merged(unet, written), x), rtol=0.01, atol=0.01)
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_changes_that_are_too_large_are_refused() -> None:
    big = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(64,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        mid_block_type=None,
        cross_attention_dim=8,
    )
    with pytest.raises(ValueError, match=rf"expected at most {MOST}; take a smaller --rank"):
        deltas(tunable(widened(big), 400))


def test_masks_of_all_kinds() -> None:
    masks = random_masks(64, torch.Generator().manual_seed(0))
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    shares = masks.mean((1, 2, 3))
    assert 1 <= (shares == 1).sum() <= 25
    assert shares.min() > 0.1
    assert torch.equal(masks, random_masks(64, torch.Generator().manual_seed(0)))
