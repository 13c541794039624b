"""The job on a prior whose posterior is known: its closed forms, and that exact draws have no excess."""

from __future__ import annotations

import json
from pathlib import Path

import exact_prior
import pytest
import torch
from exact_prior import KernelDensity, Study, asked_methods, parser, run, study

from fcs.core.errors import UsageError
from fcs.core.levels import Level


@pytest.fixture
def prior() -> KernelDensity:
    points = torch.randn(6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return KernelDensity(points, 0.4, (1, 2, 4))


@pytest.mark.parametrize("level", [Level(0, 0.3, 0.95), Level(0, 0.9, 0.4)])
def test_x0_is_tweedies(prior: KernelDensity, level: Level) -> None:
    """``(x + sigma^2 grad log p(x)) / alpha`` of the noised density, a mixture of normals."""
    x = torch.randn(5, 1, 2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    variance = level.alpha**2 * prior.bandwidth**2 + level.sigma**2
    distance = (x.flatten(1).unsqueeze(1) - level.alpha * prior.points).square().sum(2)
    (score,) = torch.autograd.grad(torch.logsumexp(-distance / 2 / variance, 1).sum(), x)
    tweedie = (x + level.sigma**2 * score) / level.alpha
    torch.testing.assert_close(prior.x0(x.detach(), level), tweedie.detach())


def test_weights_are_those_of_bayes(prior: KernelDensity) -> None:
    shown, entries = prior.points[:3] + 0.1, torch.arange(8) < 4
    density = (-(shown[:, None, :4] - prior.points[:, :4]).square().sum(2) / 2 / prior.bandwidth**2).exp()
    torch.testing.assert_close(prior.weights(shown, entries), density / density.sum(1, keepdim=True))


def asked(*given: str) -> object:
    args, _ = parser().parse_known_args(["--out", "x", *given])
    return args


def test_exact_draws_have_no_excess_and_wrong_ones_have() -> None:
    one: Study = study("half", "eps", asked("--records", "200", "--seeds", "0,1"))  # type: ignore[arg-type]
    exact = one.exact()
    others = Study(one.prior, one.truth, one.known, one.kind, [7, 8]).exact()
    found = one.figures(others, exact)
    # Both are draws of the same posterior: the difference is 0 but for chance, of which the interval tells 95 %.
    width = found["excess"]["high"] - found["excess"]["low"]
    assert abs(found["excess"]["mean"]) < 1.5 * width
    assert found["kept"] > 0.98
    assert found["spread"] == pytest.approx(1, abs=0.1)
    unrelated = [torch.where(one.known, one.truth, draw.roll(1, 0)) for draw in exact]
    wrong = one.figures(unrelated, exact)
    assert wrong["excess"]["low"] > 1
    assert wrong["kept"] < 0.5


def test_settings_are_those_of_the_sampler() -> None:
    plain, pushed = asked_methods(asked("--methods", "krylov", "--setting", "{}", "--setting", "{push: 1}"))  # type: ignore[arg-type]
    assert (plain.name, pushed.name) == ("krylov", "krylov, push 1")
    assert [one.build(one.published(10, False)).push for one in (plain, pushed)] == [0, 1]  # type: ignore[attr-defined]
    for wrong, said in (
        ("{pusch: 1}", "pusch"),
        ("{push: -1}", "push=-1: expected 0 or more"),
        ("push", "NAME: VALUE"),
    ):
        with pytest.raises(UsageError, match=said):
            asked_methods(asked("--methods", "krylov", "--setting", wrong))  # type: ignore[arg-type]


def test_the_job_writes_each_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exact_prior, "WORLDS", [("box", "flow")])
    given = ["--methods", "krylov,replacement", "--calls", "6", "--records", "8", "--seeds", "0,1"]
    given += ["--plot", str(tmp_path / "o.png")]
    run(parser().parse_args(["--out", str(tmp_path / "o.json"), *given]))
    (made,) = json.loads((tmp_path / "o.json").read_text())["worlds"].values()
    assert [(row["method"], row["calls"], row["levels"]) for row in made] == [
        ("newton-k5", 220, 20),
        ("krylov", 6, 3),
        ("replacement", 6, 6),
    ]
    assert "| krylov | 6 |" in capsys.readouterr().out
    assert (tmp_path / "o.png").stat().st_size > 5000
