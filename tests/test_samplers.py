"""Every shipped sampler, found by discovery: what it says it costs is what it costs, and it stays as it was made."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from inspect import signature

import pytest
import torch
from helpers.rivals import SEEDS, SIZE, Conditional, known, prior
from torch import Tensor, nn

from fcs.core.constraints import Known
from fcs.core.denoise_wrappers import CallCounter, before_each_call
from fcs.core.directions import Direction, Exact, Gradient, Local, Newton
from fcs.core.levels import Level, ddpm_levels
from fcs.core.per_sample import RecordNoise
from fcs.engine.config.class_names import shipped
from fcs.models.schedules import renewed
from fcs.samplers.base import Sampler

DIRECTIONS: list[Direction] = [Newton(), Newton(central=True), Gradient(), Local()]
# Settings that change how many calls are made; a sampler that is not named here is counted with its defaults.
OTHERS: dict[str, list[dict[str, object]]] = {
    "newton": [{"step_sizes": []}, {"step_sizes": [0.3, 0.2], "restarts": 2, "depth": 0.4}],
    "projectednewton": [{"moves": (0, 2, 1), "order": 1, "project": False}],
    "newtonkrylov": [{"products": (0, 2, 1), "follow": 0.0, "memory": 0}],
    "mmps": [{"iterations": 3}],
    "p2l": [{"tunings": 0}, {"tunings": 2, "every": 1}],
    "repaint": [{"jump": 2, "passes": 3}],
    "freedom": [{"repeats": 2, "guide_from": 0.8, "travel_to": 0.0}],
    "mpgd": [{"project": True}],
    "fmrg": [{"jacobian": True, "moves": 2}],
}


def made() -> list[Sampler]:
    """Each shipped sampler, with every direction where it takes one."""
    samplers = []
    for name, kind in shipped("sampler").items():
        for settings in [{}, *OTHERS.get(name, [])]:
            directions = DIRECTIONS if "direction" in signature(kind).parameters else [None]
            samplers += [kind(**settings, **({"direction": one} if one else {})) for one in directions]
    return samplers


def described(sampler: Sampler) -> str:
    return f"{type(sampler).__name__}-{type(sampler.direction).__name__}"


def sampled(sampler: Sampler, network: nn.Module, steps: int, abar: Tensor) -> int:
    """Samples two records; how many denoiser calls that took."""
    watched: list[None] = []
    counter, randn = CallCounter(), RecordNoise(SEEDS[:2], dtype=torch.float64)
    denoise = prior(network, [0, 1]).wrapped(counter).wrapped(before_each_call(lambda: watched.append(None)))
    with torch.no_grad():
        x0 = sampler(randn((1, SIZE, SIZE)), ddpm_levels(abar, steps), denoise, known([0, 1]), randn)
    assert x0.isfinite().all()
    assert len(watched) == counter.calls
    return counter.calls


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("sampler", made(), ids=described)
def test_a_sampler_costs_what_it_says(sampler: Sampler, steps: int, small_network: nn.Module, abar: Tensor) -> None:
    network = Conditional(small_network)
    assert sampled(sampler, network, steps, abar) == sampler.calls(steps)
    assert network.backwards == sampler.backwards(steps)


@pytest.mark.parametrize("sampler", made(), ids=described)
def test_sampling_leaves_a_sampler_as_it_was_made(sampler: Sampler, small_network: nn.Module, abar: Tensor) -> None:
    before = deepcopy({key: value for key, value in vars(sampler).items() if key != "direction"})
    direction = sampler.direction
    sampled(sampler, Conditional(small_network), 3, abar)
    assert {key: value for key, value in vars(sampler).items() if key != "direction"} == before
    assert sampler.direction is direction


def test_the_exact_direction_counts_its_jacobian_as_one() -> None:
    assert shipped("sampler")["newton"](Exact(), [0.5]).backwards(7) == 7


@pytest.mark.parametrize("sampler", made(), ids=described)
def test_a_sampler_can_go_to_another_process(sampler: Sampler) -> None:
    if isinstance(sampler.direction, Newton):
        sampler = sampler.with_direction(sampler.direction.with_lengths({999.0: 0.25}))
    sent = pickle.loads(pickle.dumps(sampler))
    assert {**vars(sent), "direction": None} == {**vars(sampler), "direction": None}
    if sampler.direction is not None:
        assert vars(sent.direction) == vars(sampler.direction)


@pytest.mark.parametrize("kind", shipped("sampler").values(), ids=lambda kind: kind.__name__)
def test_another_direction_makes_another_sampler(kind: Callable[[], Sampler]) -> None:
    sampler, local = kind(), Local()
    if sampler.direction is None:
        with pytest.raises(TypeError, match="expected a sampler with a direction"):
            sampler.with_direction(local)
        return
    before, other = sampler.direction, sampler.with_direction(local)
    assert type(other) is type(sampler)
    assert (other.direction, sampler.direction) == (local, before)
    assert {**vars(other), "direction": None} == {**vars(sampler), "direction": None}


def test_prior_and_guided_cannot_be_set_from_outside(small_network: nn.Module) -> None:
    model = prior(Conditional(small_network), [0, 1])
    for owner, name in ((model, "guided"), (model, "wrappers"), (model.guided, "cond"), (model.guided, "scale")):
        with pytest.raises(AttributeError):
            setattr(owner, name, None)


def test_a_prior_under_another_prompt_passes_through_the_same_wrappers(small_network: nn.Module) -> None:
    counter, level = CallCounter(), Level(500.0, 0.6, 0.8)
    model = prior(Conditional(small_network), [0, 1]).wrapped(counter)
    x = RecordNoise(SEEDS[:2], dtype=torch.float64)((1, SIZE, SIZE))
    other = model.with_cond(torch.zeros_like(x))
    assert not torch.equal(model(x, level), other(x, level))
    assert counter.calls == 2


OF_ANY_DENOISER = ("ddim", "dps", "freedom", "mmps", "mpgd", "newton", "newtonkrylov", "projectednewton")
RENEWED = renewed([Level(900, 0.3, 0.954), Level(600, 0.7, 0.714), Level(300, 0.9, 0.436), Level(0, 1, 0)])


def at_its_third_level(name: str, start: float) -> Tensor:
    """x_t of a sampler whose x_0 is the same everywhere and known to be right, from a flat start."""
    right = torch.ones(2, 1, SIZE, SIZE, dtype=torch.float64)
    seen: list[Tensor] = []

    def denoise(x: Tensor, level: Level) -> Tensor:
        seen.extend([x] if level.t == 300 else [])
        return right + 0 * x

    randn = RecordNoise(SEEDS[:2], dtype=torch.float64)
    known_right = Known(right, torch.ones_like(right))
    shipped("sampler")[name]()(torch.full_like(right, start), RENEWED, denoise, known_right, randn)
    return seen[0]


@pytest.mark.parametrize("name", OF_ANY_DENOISER)
def test_where_all_noise_is_new_nothing_of_the_old_is_left(name: str) -> None:
    one, other = at_its_third_level(name, -3.0), at_its_third_level(name, 5.0)
    torch.testing.assert_close(one, other)
    assert one.std().item() == pytest.approx(0.436, rel=0.3)  # of 128 draws, five standard errors
