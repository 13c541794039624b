"""Everything on an emulated card: nothing mixes devices, and no sampling loop waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.autoencoders.vae import Decoder, Encoder
from helpers.emulated_card import CARD, Card, Wait, a_driver, counted
from helpers.networks import SmallNetwork
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from fcs.core.autocast import no_autocast
from fcs.core.collate import collate
from fcs.core.denoiser import Denoiser, Guided
from fcs.core.deterministic import bicubic, mirrored
from fcs.core.directions import Gradient, Local, Newton
from fcs.core.operators import Blur, Downsample, GaussianBlur, Grey, MotionBlur, Pixels
from fcs.core.operators.base import Operator
from fcs.core.operators.cells import Cells
from fcs.core.operators.clip import Saturation
from fcs.core.operators.jpeg import Jpeg
from fcs.core.operators.quantize import Quantize
from fcs.core.records import Batch, Record, Result
from fcs.core.tf32 import tf32, tf32_is_on
from fcs.engine.config.class_names import shipped
from fcs.engine.encode_results import ResultEncoder
from fcs.models import Model, Schedule, base, find, load
from fcs.models.options import Options
from fcs.samplers import InexactNewton, Sampler
from fcs.tasks import Inpaint, KnownPixels, Layers, Restore, Style, Superres, Task
from fcs.tasks.pipeline import Pipeline
from fcs.tasks.sampling_loop import SamplingLoop


@pytest.fixture(scope="module", autouse=True)
def driver() -> Iterator[None]:
    with a_driver():
        yield


@pytest.fixture
def card() -> Iterator[Card]:
    with Card() as made:
        yield made


@pytest.fixture
def in_the_loop(card: Card, monkeypatch: pytest.MonkeyPatch) -> list[Wait]:
    """What the host waits for between the first noise of a batch and its x_0."""
    return counted(card, SamplingLoop, ("sample", "guess"), monkeypatch)


def batch(model: Model, count: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (count, *model.picture_shape), generator=generator, dtype=torch.uint8)
    mask = torch.zeros(1, *model.picture_shape[1:], dtype=torch.uint8)
    mask[..., mask.shape[-1] // 2 :] = 255
    return collate("s", 0, [Record(i, str(i), one, mask) for i, one in enumerate(pictures)], model.picture_shape, 0)


class Small(Model):
    """A latent model that costs nothing: a few convolutions, blocks of pixels for a codec."""

    def __init__(self) -> None:
        abar = torch.cumprod(1 - torch.linspace(0.03, 0.11, 1000).square(), 0)
        super().__init__(Denoiser(SmallNetwork(3, 0), "eps"), Schedule(abar), (3, 8, 8), (3, 16, 16))
        self.requires_grad_(False)

    def encode(self, pictures: Tensor) -> Tensor:
        return F.avg_pool2d(pictures, 2)

    def decode(self, z: Tensor) -> Tensor:
        return torch.tanh(z).repeat_interleave(2, 2).repeat_interleave(2, 3)

    def guided(self, prompts: Sequence[str], negative: str = "", scale: float = 1.0) -> Guided:
        return Guided(self.denoiser)


class Twice:
    """A model on the CPU, and again on the card.

    Args:
        made: makes it.
    """

    def __init__(self, made: Callable[[], Model]) -> None:
        self.here, self.there = made(), made()
        with Card():
            self.there.to(CARD)

    def agree(self, task: Task, sampler: Sampler, steps: int = 2, off: int = 2, **more: Any) -> None:
        """A batch gives the same pictures in both places, but for rounding."""
        given, task_here = batch(self.here), deepcopy(task)
        with _disable_current_modes():
            task.prepare(self.here)  # what it loads, it loads on the CPU, as in a run
        task.prepare(self.there)
        made = Pipeline(self.there, task, sampler, steps, **more)(given.to(CARD))
        with _disable_current_modes():
            task_here.prepare(self.here)
            expected = Pipeline(self.here, task_here, sampler, steps, **more)(given)
        assert all(type(one) is Tensor for one in (made.images, *made.further.values()))
        assert (made.images.int() - expected.images.int()).abs().max() <= off
        assert made.residuals == pytest.approx(expected.residuals, rel=0.01, abs=1e-4)


@pytest.fixture(scope="module")
def small(driver: None) -> Twice:
    return Twice(Small)


@pytest.fixture(scope="module")
def stable_diffusion(driver: None, tiny_sd: Path) -> Twice:
    return Twice(lambda: load(find(str(tiny_sd))))


@pytest.fixture(scope="module")
def pipeline(driver: None, tiny_sd: Path) -> Twice:
    """The same through the call of diffusers' pipeline."""
    return Twice(lambda: load(find(str(tiny_sd)), options=Options(arguments={"clip_skip": None})))


@pytest.fixture(scope="module")
def in_16_bits(driver: None, tiny_sd: Path) -> Twice:
    return Twice(lambda: load(find(str(tiny_sd)), torch.bfloat16))


# The card itself


@pytest.mark.parametrize(
    "reads",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: x[[0, 1]],
        lambda x: x.nonzero(),
        lambda x: x + torch.ones(3).to(CARD),
        lambda x: x + torch.tensor([1.0, 2.0, 3.0], device=CARD),
        lambda x: torch.linalg.pinv(x),
        lambda x: torch.equal(x, x),
    ],
)
def test_what_waits_is_noted(card: Card, reads: Callable[[Tensor], Any]) -> None:
    reads(torch.ones(3, 3, device=CARD))
    assert card.waits


@pytest.mark.parametrize(
    "computes",
    [
        lambda x: x + 2 * x.square().mean(),
        lambda x: x + torch.tensor(2.0),
        lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
        lambda x: x + torch.ones(3).pin_memory().to(CARD, non_blocking=True),
        lambda x: x.to("cpu", non_blocking=True),
        lambda x: torch.linalg.solve_ex(x + torch.eye(3, device=CARD), x),
        lambda x: x[1:, :2].mul_(2),
    ],
)
def test_what_does_not_wait_is_not(card: Card, computes: Callable[[Tensor], Any]) -> None:
    computes(torch.ones(3, 3, device=CARD))
    assert card.waits == []
    assert card.launches > 0


def test_two_devices_do_not_mix(card: Card) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(3, device=CARD) + torch.ones(3)
    with pytest.raises(TypeError, match="numpy"):
        torch.ones(3, device=CARD).numpy()


# Samplers


def samplers() -> dict[str, Sampler]:
    directions = {"central": Newton("auto", central=True), "gradient": Gradient(), "local": Local()}
    made: dict[str, Sampler] = {}
    for name, kind in shipped("sampler").items():
        made[name] = kind()
        if made[name].direction is not None:
            made |= {f"{name}-{which}": kind(direction=one) for which, one in directions.items()}
    return made


@pytest.mark.parametrize("name", samplers())
def test_no_sampler_waits_in_its_loop(name: str, small: Twice, in_the_loop: list[Wait]) -> None:
    sampler = samplers()[name]
    if sampler.prompted:
        pytest.skip("needs prompts: below")
    task = Inpaint() if issubclass(Inpaint.makes, sampler.needs) else Superres(4, degrade=True)
    small.agree(task, sampler)
    assert in_the_loop == []


def test_a_pipelines_call_does_not_wait(pipeline: Twice, in_the_loop: list[Wait]) -> None:
    """But the first time, when its answer is looked at."""
    for _ in range(2):
        in_the_loop.clear()
        pipeline.agree(Inpaint(), InexactNewton(step_sizes=[0.5]), 1)
    assert in_the_loop == []


@pytest.mark.parametrize("name", ["p2l", "newton"])
def test_stable_diffusion_does_not_wait(name: str, stable_diffusion: Twice, in_the_loop: list[Wait]) -> None:
    settings: dict[str, Any] = {"step_sizes": [0.5]} if name == "newton" else {}
    stable_diffusion.agree(Inpaint(), shipped("sampler")[name](**settings), 1, guidance=2.0)
    assert in_the_loop == []


# Tasks and operators


def tasks() -> dict[str, Task]:
    fitting = {"degrade": True, "error": "vae_newton"}
    return {
        "inpaint": Inpaint(),
        "inpaint-grey": Inpaint(paste=False, hole="grey", erode=1),
        "known-pixels": KnownPixels(),
        "layers": Layers(rounds=1, samples=2),
        "style": Style(),
        "superres": Superres(4, degrade=True, paste=True),
        "superres-average": Superres(4, degrade=True, filter="average", noise=0.1, perturb=0.1),
        "superres-vae-newton": Superres(4, **fitting),
        **{f"restore-{name}": Restore(one, degrade=True) for name, one in operators().items()},
        **{f"restore-{name}-vae-newton": Restore(one, **fitting) for name, one in operators().items()},
        **{f"restore-{name}": Restore(one, degrade=True) for name, one in cells().items()},
    }


def cells() -> dict[str, Cells]:
    """Operators that leave a cell of pictures; a palette of each picture's own is made on the host, before the loop."""
    return {"clip": Saturation(), "jpeg": Jpeg(), "quantize": Quantize()}


def operators() -> dict[str, Operator]:
    known = (torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    return {
        "blur": Blur(torch.full((3, 5), 1 / 15)),
        "downsample": Downsample(2),
        "mirrored": Downsample(2, "mirrored"),
        "gaussianblur": GaussianBlur(1.0),
        "grey": Grey(),
        "motionblur": MotionBlur(5, 30.0),
        "pixels": Pixels(known),
    }


@pytest.mark.parametrize("name", tasks())
def test_no_task_waits_in_its_loop(name: str, small: Twice, in_the_loop: list[Wait]) -> None:
    small.agree(tasks()[name], InexactNewton(step_sizes=[0.5, 0.1]), 1)
    assert in_the_loop == []


def test_everything_is_tried() -> None:
    assert {*operators(), *cells()} >= set(shipped("task.operator"))
    assert {type(one).__name__.lower() for one in tasks().values()} == set(shipped("task"))


@pytest.mark.parametrize("name", operators())
def test_no_operator_waits_twice(name: str, card: Card) -> None:
    """Once it may: for constants that are copied to the card."""
    operator, x = operators()[name], torch.zeros(2, 3, 16, 16, device=CARD)
    for _ in range(2):
        card.waits.clear()
        y = operator.A(x)
        operator.A_adjoint(y)
        operator.A_dagger(y)
    assert card.waits == []


# Behind the sampler


def test_a_batch_keeps_what_it_was_on_the_host(small: Twice, card: Card) -> None:
    given = batch(small.here, 4)
    there = given.to(CARD)
    assert card.waits == []  # through pinned memory
    assert there.on_host is given
    part = there.part(1, 3)
    assert torch.equal(part.on_host.images, given.images[1:3])
    assert part.on_host.images.data_ptr() == given.images[1:].data_ptr()
    assert given.on_host.images is given.images
    card.waits.clear()
    solver = Pipeline(small.there, Inpaint(), InexactNewton(step_sizes=[0.5]), 1)
    made = solver(there)
    assert card.waits == []  # what comes back is waited for once, in a queue of copies
    assert made.images.device.type == "cpu"


def test_scores_on_the_card_are_those_of_the_cpu(small: Twice, card: Card) -> None:
    given = batch(small.here, 3)
    result = Result(given.images.flip(3), (0.0,) * 3, (1,) * 3, (True,) * 3)
    plain = ResultEncoder(Inpaint(), "png", False, {})
    expected = [row.scores for row in plain.rows(given, result)]
    launched = card.launches
    found = [row.scores for row in replace(plain, device=CARD).rows(given.to(CARD).on_host, result)]
    assert card.launches > launched
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other)


# 16 bits


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[bool]]:
    """Whether TF32 was on in each kind of network, in both directions."""
    found: dict[str, set[bool]] = {}

    def noting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            found.setdefault(name, set()).add(tf32_is_on())
            made = method(*args, **kwargs)
            if isinstance(made, Tensor) and made.requires_grad:
                made.register_hook(lambda gradient: found.setdefault(f"{name} backwards", set()).add(tf32_is_on()))
            return made

        return noted

    for name, kind in {"encoder": Encoder, "decoder": Decoder, "network": UNet2DConditionModel}.items():
        monkeypatch.setattr(kind, "forward", noting(name, kind.forward))
    return found


@pytest.mark.parametrize(("rounds", "sliced"), [(True, False), (True, True), (False, False)])
def test_the_codec_takes_tf32_and_the_network_does_not(
    rounds: bool, sliced: bool, in_16_bits: Twice, told: dict[str, set[bool]], card: Card
) -> None:
    model = in_16_bits.there
    task, sampler = Superres(4, degrade=True), InexactNewton(Local(), [0.5])
    solver, given = Pipeline(model, task, sampler, 1), batch(model).to(CARD)
    with tf32(False):
        plain = solver(given)
        told.clear()
        model.spare(sliced, False)
        model.codec_rounds = rounds
        try:
            made = solver(given)
        finally:
            model.codec_rounds = True
            model.spare(False, False)
    assert told == {"network": {False}, "decoder": {rounds}, "decoder backwards": {rounds}}
    assert (made.images.int() - plain.images.int()).abs().max() <= 1  # the emulated card rounds nothing


def test_a_difference_of_the_encoder_takes_tf32_and_redone_records_have_every_digit(
    in_16_bits: Twice, told: dict[str, set[bool]], card: Card
) -> None:
    model = in_16_bits.there
    given = batch(model).to(CARD)
    with tf32(False):
        Pipeline(model, Superres(4, degrade=True, error="vae_newton"), InexactNewton(Local(), [0.5]), 1)(given)
        assert told["encoder"] == {True}  # docs/precision.md has what that does to it
        told.clear()
        with torch.no_grad():
            model.encode(torch.zeros(1, *model.picture_shape, device=CARD))
            with no_autocast():
                model.decode(torch.zeros(1, *model.shape, device=CARD))
    assert told == {"encoder": {True}, "decoder": {False}}


def test_a_large_batch_goes_through_the_codec_in_parts(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(find(str(tiny_sd))).double()
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(5, *model.picture_shape, dtype=torch.float64, generator=generator) * 2 - 1
    z = model.encode(pictures)
    whole = model.decode(z)
    sizes: list[int] = []
    forward = Decoder.forward
    monkeypatch.setattr(Decoder, "forward", lambda self, z: sizes.append(len(z)) or forward(self, z))
    monkeypatch.setattr(base, "PIXELS", 2 * 64 * 64 + 1)
    torch.testing.assert_close(model.encode(pictures), z)
    torch.testing.assert_close(model.decode(z), whole)
    assert sizes == [2, 2, 1]
    leaf = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.decode(leaf).square().sum(), leaf)
    monkeypatch.undo()
    (expected,) = torch.autograd.grad(model.decode(leaf).square().sum(), leaf)
    torch.testing.assert_close(gradient, expected)


def test_shipped_sizes_are_whole_batches_and_large_ones_are_not() -> None:
    assert base.PIXELS // (64 * 64) >= 256
    assert base.PIXELS // (512 * 512) == 8
    assert base.PIXELS // (1024 * 1024) == 2


def test_autocast_on_the_card(in_16_bits: Twice, in_the_loop: list[Wait]) -> None:
    direction = Newton("auto")
    direction = direction.with_lengths({level.t: 0.25 for level in in_16_bits.here.schedule.levels(1)})
    in_16_bits.agree(Inpaint(), InexactNewton(direction, [0.5]), 1, off=16)
    assert in_the_loop == []


# Deterministic kernels


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


REFUSING = {"upsample_bicubic2d_backward", "_upsample_bicubic2d_aa_backward", "reflection_pad2d_backward"}
REFUSING |= {"_upsample_bilinear2d_aa_backward", "upsample_bilinear2d_backward", "replication_pad2d_backward"}


@pytest.mark.parametrize("name", tasks())
@pytest.mark.usefixtures("deterministic")
def test_no_gradient_of_a_task_takes_a_kernel_that_refuses(
    name: str, small: Twice, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that torch documents under ``use_deterministic_algorithms``; the values are the plain kernels'."""
    asked: set[str] = set()
    checked = Card._checked

    def noting(self: Card, func: Any, given: list[Tensor]) -> None:
        asked.add(func.overloadpacket.__name__)
        checked(self, func, given)

    monkeypatch.setattr(Card, "_checked", noting)
    small.agree(tasks()[name], InexactNewton(Gradient(), [0.5]), 1)
    assert not asked & REFUSING


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("size", [(8, 5), (16, 12), (31, 40)])
@pytest.mark.parametrize("antialias", [False, True])
def test_resizing_by_products_is_resizing(size: tuple[int, int], antialias: bool, card: Card) -> None:
    x = torch.randn(2, 3, 16, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(x, size=size, mode="bicubic", antialias=antialias, align_corners=False)
    torch.testing.assert_close(bicubic(x.to(CARD), size, antialias).cpu(), expected)
    assert torch.equal(mirrored(x.to(CARD), 3, 5).cpu(), F.pad(x, (3, 3, 5, 5), mode="reflect"))
