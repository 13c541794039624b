"""The rival methods in a batch: rows, types, costs, prompts, and what does not fit."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from helpers.rivals import (
    RIVALS,
    SEEDS,
    SIZE,
    Conditional,
    decode,
    encode,
    known,
    mask,
    measured,
    named,
    rows,
    sampled,
)
from torch import Tensor, nn

from fcs.core.constraints import Constraint, Known, Measured
from fcs.core.denoise_wrappers import CallCounter
from fcs.core.denoiser import Denoiser, Guided
from fcs.core.errors import UsageError
from fcs.core.levels import Level, ddpm_levels, flow_levels
from fcs.core.operators import Downsample
from fcs.core.per_sample import RecordNoise
from fcs.engine.config.class_names import shipped
from fcs.models import Model
from fcs.samplers import (
    DING,
    DPS,
    FMRG,
    LATINO,
    LDPS,
    MMPS,
    MPGD,
    P2L,
    PSLD,
    FreeDoM,
    RePaint,
    Sampler,
)
from fcs.samplers.prior import Prior
from fcs.tasks import Inpaint, Style
from fcs.tasks.pipeline import Pipeline


@pytest.fixture
def network(small_network: nn.Module) -> Conditional:
    return Conditional(small_network)


@pytest.mark.parametrize("make", [known, measured])
@pytest.mark.parametrize("sampler", RIVALS, ids=named)
def test_a_row_does_not_see_its_mates(
    sampler: Sampler, make: Callable[[list[int]], Constraint], network: Conditional, abar: Tensor
) -> None:
    if make is measured and not issubclass(Measured, sampler.needs):
        pytest.skip("needs another constraint")
    levels = ddpm_levels(abar, 4)
    together = sampled(sampler, network, levels, make, [0, 1, 2, 3])
    assert torch.isfinite(together).all()
    for chosen in ([0], [3], [2, 0, 3, 1], [1, 1, 3]):
        alone = sampled(sampler, network, levels, make, chosen)
        torch.testing.assert_close(alone, together[chosen], rtol=0, atol=1e-10)


@pytest.mark.parametrize("sampler", RIVALS, ids=named)
def test_a_row_with_nothing_known_stays_finite_and_the_state_float32(
    sampler: Sampler, network: Conditional, abar: Tensor
) -> None:
    m = mask().float()
    m[1] = 0
    randn = RecordNoise(SEEDS)
    guided = Guided(Denoiser(network.float(), "eps"), rows(3).float())
    with torch.no_grad():
        x0 = sampler(
            randn((1, SIZE, SIZE)),
            ddpm_levels(abar, 4),
            Prior(guided, encode, decode),
            Known(rows(1).float(), m),
            randn,
        )
    assert x0.dtype == torch.float32
    assert torch.isfinite(x0).all()


@pytest.mark.parametrize("sampler", RIVALS, ids=named)
def test_a_flow_is_walked_too(sampler: Sampler, network: Conditional) -> None:
    # alpha is 0 at its first level.
    randn = RecordNoise(SEEDS, dtype=torch.float64)
    guided = Guided(Denoiser(network, "flow"), rows(3))
    counter = CallCounter()
    model = Prior(guided, encode, decode).wrapped(counter)
    with torch.no_grad():
        x0 = sampler(randn((1, SIZE, SIZE)), flow_levels(4), model, known([0, 1, 2, 3]), randn)
    assert torch.isfinite(x0).all()
    assert counter.calls == sampler.calls(4)


# Prompts


def test_p2l_gives_the_prompts_back_and_leaves_guidances_other_branch(network: Conditional, abar: Tensor) -> None:
    seen: list[Tensor] = []

    class Watched(nn.Module):
        def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
            seen.append(cond.detach().clone())
            return network(x, t, cond)

    guided = Guided(Denoiser(Watched(), "eps"), rows(3), rows(4), 2.0)
    before = guided.cond
    randn = RecordNoise(SEEDS, dtype=torch.float64)
    P2L(2, 0.1)(rows(0), ddpm_levels(abar, 3), Prior(guided, encode, decode), known([0, 1, 2, 3]), randn)
    assert guided.cond is before
    assert all(torch.equal(cond[4:], rows(4)) for cond in seen)
    assert torch.equal(seen[0][:4], rows(3))
    assert all((after[:4] != first[:4]).any() for first, after in pairwise(seen[:3]))


# A real autoencoder


@pytest.mark.parametrize("sampler", [PSLD(0.5, 0.5), P2L(1, 0.1), MPGD(0.5, project=True), LATINO()], ids=named)
@pytest.mark.parametrize("kind", ["known", "measured"])
def test_stable_diffusions_codec_and_prompts_are_gone_through(sampler: Sampler, kind: str, latent_model: Model) -> None:
    shape, prompts = (2, *latent_model.shape), ["red", ""]
    generator = torch.Generator().manual_seed(0)
    target, picture = torch.randn(shape, generator=generator), torch.rand(2, 3, 64, 64, generator=generator)
    reduction = Downsample(8)
    constraint: Constraint = Known(target, (target > 0).float())
    if kind == "measured":
        constraint = Measured(reduction.A(picture), reduction.A, latent_model.decode)
    made = []
    for encoder in (latent_model.encode, lambda picture: torch.zeros(shape)):
        counter = CallCounter()
        model = Prior(latent_model.guided(prompts), encoder, latent_model.decode).wrapped(counter)
        randn = RecordNoise([1, 2])
        with torch.no_grad():
            made.append(sampler(randn(shape[1:]), latent_model.schedule.levels(3), model, constraint, randn))
        assert counter.calls == sampler.calls(3)
    assert torch.isfinite(made[0]).all()
    assert not torch.allclose(made[0], made[1])  # what the encoder says is listened to


# What does not fit


# All that is asked of a model before the first batch.
PROMPTED = cast(Model, SimpleNamespace(prompted=True, differentiable=True))
UNPROMPTED = cast(Model, SimpleNamespace(prompted=False, differentiable=True))


class Darkness(Constraint):
    """No measurement."""

    def loss(self, x0: Tensor) -> Tensor:
        return x0.flatten(1).sum(1)


@pytest.mark.parametrize("sampler", [s for s in RIVALS if s.needs is not Constraint], ids=named)
def test_a_task_without_the_needed_constraint_is_refused(sampler: Sampler) -> None:
    with pytest.raises(UsageError, match=rf"sampler={named(sampler).lower()}: .* needs a constraint"):
        Pipeline(PROMPTED, Style(), sampler)
    t, s = Level(0, 0.6, 0.8), Level(0, 0.8, 0.6)
    model = Prior(Guided(Denoiser(nn.Identity(), "eps"), rows(3)), encode, decode)
    with pytest.raises(TypeError, match=f"expected the constraint {sampler.needs.__name__}"):
        sampler(rows(0), [t, s], model, Darkness(), RecordNoise(SEEDS))


@pytest.mark.parametrize("sampler", RIVALS, ids=named)
def test_the_inpainting_task_suits_every_rival(sampler: Sampler) -> None:
    assert Pipeline(PROMPTED, Inpaint(), sampler).sampler is sampler


def test_p2l_needs_a_model_with_prompts(abar: Tensor, network: Conditional) -> None:
    with pytest.raises(UsageError, match="sampler=p2l: expected a sampler for a model without prompts"):
        Pipeline(UNPROMPTED, Inpaint(), P2L())
    unconditional = Prior(Guided(Denoiser(network, "eps")), encode, decode)
    with pytest.raises(UsageError, match="sampler=p2l"):
        P2L()(rows(0), ddpm_levels(abar, 2), unconditional, known([0, 1, 2, 3]), RecordNoise(SEEDS))


@pytest.mark.parametrize("sampler", [PSLD(), P2L(), MPGD(project=True), LATINO()], ids=named)
def test_who_needs_the_codec_says_so(sampler: Sampler, abar: Tensor) -> None:
    with pytest.raises(UsageError, match=f"sampler={named(sampler).lower()}: expected a Prior"):
        sampler(rows(0), ddpm_levels(abar, 2), lambda x, level: x, known([0, 1, 2, 3]), RecordNoise(SEEDS))


def wrong_arguments() -> Iterator[tuple[type[Sampler], dict[str, float | str]]]:
    for method in (DPS, LDPS, PSLD, MPGD, FreeDoM, RePaint, P2L):
        yield from ((method, {"eta": value}) for value in (-0.1, 1.1))
    yield from ((FreeDoM, {name: 1.5}) for name in ("travel_from", "travel_to", "guide_from", "guide_to"))
    yield from ((RePaint, {name: 0}) for name in ("jump", "passes"))
    yield from ((P2L, {name: -1}) for name in ("tunings", "every", "weight"))
    yield from [
        (FreeDoM, {"repeats": 0}),
        (FMRG, {"moves": 0}),
        (DING, {"noise": 0.0}),
        (DING, {"bridge": "cube"}),
        (MMPS, {"noise": 0.0}),
        (MMPS, {"iterations": 0}),
    ]
    yield (MMPS, {"cutoff": 1.0})
    yield from ((LATINO, {name: 0.0}) for name in ("noise", "early", "late"))


@pytest.mark.parametrize(("method", "arguments"), list(wrong_arguments()))
def test_senseless_arguments_are_refused(method: type[Sampler], arguments: dict[str, float | str]) -> None:
    (name,) = arguments
    with pytest.raises(ValueError, match=f"{name}=.*expected"):
        method(**arguments)  # type: ignore[arg-type]


def test_every_rival_has_a_short_name() -> None:
    names = {"dps", "ldps", "psld", "freedom", "mpgd", "mmps", "ding", "repaint", "p2l", "latino", "fmrg"}
    assert names <= set(shipped("sampler"))
    assert all(isinstance(shipped("sampler")[name](), Sampler) for name in names)
