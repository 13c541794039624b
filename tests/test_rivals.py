"""The rival methods are their published loops, row by row (``published`` writes these without fcs)."""

from collections.abc import Callable

import pytest
import torch
from helpers import published
from helpers.rivals import (
    SEEDS,
    SIZE,
    Conditional,
    decode,
    encode,
    enlarge,
    known,
    mask,
    measured,
    reduce,
    rows,
    sampled,
)
from torch import Tensor, nn

from fcs.core.constraints import Constraint, Observed
from fcs.core.denoiser import Denoiser, Guided
from fcs.core.levels import Level, ddpm_levels, flow_levels
from fcs.core.per_sample import RecordNoise
from fcs.samplers import DDIM, DING, DPS, FMRG, LATINO, LDPS, MPGD, P2L, PSLD, FreeDoM, RePaint, Sampler
from fcs.samplers.ding import Bridge
from fcs.samplers.prior import Prior

TIGHT = {"rtol": 0, "atol": 1e-8}


@pytest.fixture
def network(small_network: nn.Module) -> Conditional:
    return Conditional(small_network)


class Case:
    """One row's view of a run, in the published terms."""

    def __init__(self, network: nn.Module, levels: list[Level], row: int) -> None:
        self.levels, self.row = levels, row
        self.network = network
        self.abar = [level.alpha**2 for level in levels]
        self.cond = rows(3)[[row]]
        self.noise = RecordNoise([SEEDS[row]], dtype=torch.float64)
        self.start = self.draw()

    def draw(self) -> Tensor:
        return self.noise((1, SIZE, SIZE))

    def eps(self, x: Tensor, i: int, cond: Tensor | None = None) -> Tensor:
        t = torch.full((1,), self.levels[i].t)
        out: Tensor = self.network(x, t, self.cond if cond is None else cond)
        return out


@pytest.fixture(params=[0, 3])
def row(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def agrees(
    sampler: Sampler, make: Callable[[list[int]], Constraint], network: nn.Module, case: Case, expected: Tensor
) -> None:
    together = sampled(sampler, network, case.levels, make, [0, 1, 2, 3])
    torch.testing.assert_close(together[[case.row]], expected.detach(), **TIGHT)
    free = sampled(DDIM(), network, case.levels, make, [case.row])
    assert not torch.allclose(expected.detach(), free, atol=1e-3)


def operators(kind: str, row: int) -> tuple[Callable[[list[int]], Observed], Callable[[Tensor], Tensor], Tensor]:
    """A constraint, and the same as an operator on the model's space with its measurement."""
    if kind == "known":
        root = mask()[[row]].sqrt()
        return known, lambda z: root * z, root * rows(1)[[row]]
    return measured, lambda z: reduce(decode(z)), rows(2, SIZE // 2)[[row]]


@pytest.mark.parametrize("kind", ["known", "measured"])
@pytest.mark.parametrize(("method", "clip"), [(DPS, False), (DPS, True), (LDPS, False)])
def test_dps_is_the_published_loop(
    method: type[DPS], clip: bool, kind: str, network: Conditional, abar: Tensor, row: int
) -> None:
    case, (make, A, y) = Case(network, ddpm_levels(abar, 6), row), operators(kind, row)
    expected = published.dps(case.start, case.eps, case.abar, A, y, 0.7, case.draw, clip)
    agrees(method(0.7, clip=clip), make, network, case, expected)


@pytest.mark.parametrize("kind", ["known", "measured"])
def test_psld_is_the_published_loop(kind: str, network: Conditional, abar: Tensor, row: int) -> None:
    case, (make, A, y) = Case(network, ddpm_levels(abar, 6), row), operators(kind, row)

    def glue(z: Tensor) -> Tensor:
        if kind == "known":
            m = mask()[[row]]
            return encode(decode(m * rows(1)[[row]] + (1 - m) * z))
        picture = decode(z)
        return encode(enlarge(y) + picture - enlarge(reduce(picture)))  # as the code's enlargement stands for A^T

    expected = published.psld(case.start, case.eps, case.abar, A, glue, y, 0.8, 0.3)
    agrees(PSLD(0.8, 0.3), make, network, case, expected)


@pytest.mark.parametrize("kind", ["known", "measured"])
def test_freedom_is_the_published_loop(kind: str, network: Conditional, abar: Tensor, row: int) -> None:
    case, (make, A, y) = Case(network, ddpm_levels(abar, 10), row), operators(kind, row)
    expected = published.freedom(case.start, case.eps, case.abar, A, y, 0.9, case.draw)
    agrees(FreeDoM(0.9, guide_from=0.7, guide_to=0.3), make, network, case, expected)


@pytest.mark.parametrize(("project", "clip"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("kind", ["known", "measured"])
def test_mpgd_is_the_published_loop(
    kind: str, project: bool, clip: bool, network: Conditional, abar: Tensor, row: int
) -> None:
    case, (make, A, y) = Case(network, ddpm_levels(abar, 6), row), operators(kind, row)

    def codec(z: Tensor) -> Tensor:
        return encode(decode(z)) if project else z

    expected = published.mpgd(case.start, case.eps, case.abar, A, y, 0.6, 0.5, codec, case.draw, clip)
    agrees(MPGD(0.6, project, clip=clip), make, network, case, expected)


def test_repaint_is_the_published_loop(network: Conditional, abar: Tensor, row: int) -> None:
    case = Case(network, ddpm_levels(abar, 5), row)
    times = [4, 3, 2, 3, 4, 3, 2, 3, 4, 3, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1, 0, -1]  # jumps of 2, 3 passes
    expected = published.repaint(case.start, case.eps, case.abar, mask()[[row]], rows(1)[[row]], times, case.draw)
    agrees(RePaint(2, 3), known, network, case, expected)


@pytest.mark.parametrize("bridge", ["square", "root", "ddpm"])
def test_ding_is_the_published_loop(bridge: Bridge, network: Conditional, abar: Tensor, row: int) -> None:
    case = Case(network, ddpm_levels(abar, 6), row)
    expected = published.ding(case.start, case.eps, case.abar, mask()[[row]], rows(1)[[row]], 0.05, bridge, case.draw)
    agrees(DING(0.05, bridge), known, network, case, expected)


@pytest.mark.parametrize("kind", ["known", "measured"])
def test_p2l_is_the_published_loop(kind: str, network: Conditional, abar: Tensor, row: int) -> None:
    case, (make, A, y) = Case(network, ddpm_levels(abar, 4), row), operators(kind, row)

    def project(z: Tensor) -> Tensor:
        if kind == "known":
            m = mask()[[row]]
            return encode(decode((m * rows(1)[[row]] + 0.5 * z) / (m + 0.5)))
        # A A^T is 1/16, so the minimum is in closed form.
        picture = decode(z)
        return encode(picture + enlarge(y - reduce(picture)) / 16 / (1 / 16 + 0.5))

    expected = published.p2l(case.start, case.cond, case.eps, case.abar, A, y, project, 3, 0.05, 0.4, 2)
    agrees(P2L(3, 0.05, 0.4, every=2, weight=0.5), make, network, case, expected)


@pytest.mark.parametrize("kind", ["known", "measured"])
def test_latino_is_the_published_loop(kind: str, network: Conditional, abar: Tensor, row: int) -> None:
    case, (make, _, y) = Case(network, ddpm_levels(abar, 4), row), operators(kind, row)

    def prox(z: Tensor, gamma: float) -> Tensor:
        if kind == "known":
            m = mask()[[row]]
            return encode(decode((z + gamma * m * rows(1)[[row]]) / (1 + gamma * m)))
        # A^T A is a projection times 1/16, so the minimum is in closed form.
        picture = decode(z)
        return encode(picture + gamma / (1 + gamma / 16) * enlarge(y - reduce(picture)) / 16)

    told = [level.t for level in case.levels]
    expected = published.latino(case.start, case.eps, case.abar, told, prox, 0.2, case.draw)
    agrees(LATINO(0.2), make, network, case, expected)


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("kind", ["known", "measured"])
def test_fmrg_is_the_published_loop(kind: str, through: bool, network: Conditional, row: int) -> None:
    levels = flow_levels(5, shift=2.0)
    case, (make, A, y) = Case(network, levels, row), operators(kind, row)
    expected = published.fmrg(case.start, case.eps, [level.sigma for level in levels], A, y, 0.4, 3, through)
    randn = RecordNoise(SEEDS, dtype=torch.float64)
    model = Prior(Guided(Denoiser(network, "flow"), rows(3)), encode, decode)
    with torch.no_grad():
        together = FMRG(0.4, 3, through)(randn((1, SIZE, SIZE)), levels, model, make([0, 1, 2, 3]), randn)
        free = DDIM()(case.start, levels, model.with_cond(case.cond), make([row]), randn)
    torch.testing.assert_close(together[[row]], expected.detach(), **TIGHT)
    assert not torch.allclose(together[[row]], free, atol=1e-3)


def test_fmrg_with_all_noise_new_keeps_nothing_of_the_old(network: Conditional) -> None:
    x, t, s = rows(0), Level(600, 0.4, 0.6), Level(300, 0.7, 0.3)
    model = Prior(Guided(Denoiser(network, "flow"), rows(3)), encode, decode)
    randn = RecordNoise(SEEDS, dtype=torch.float64)
    with torch.no_grad():
        x0 = model(x, t)
        moved = 0.4 * known([0, 1, 2, 3]).pull(x0)
        found = FMRG(0.4, 1, renewed=True).step(x, t, s, model, known([0, 1, 2, 3]), randn)
    noise = RecordNoise(SEEDS, dtype=torch.float64)((1, SIZE, SIZE))
    torch.testing.assert_close(found, 0.7 * x0 + 0.3 * noise + 0.6 * 0.7 * moved, **TIGHT)
