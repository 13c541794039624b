"""A model's own setting for a number of calls: the space, the search, records that a model draws, the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from scipy.stats import qmc

from fcs.bench import finals, own_records
from fcs.bench.cli import main
from fcs.bench.fit import Fitting
from fcs.bench.fit_space import FEWEST, SPACES, Space, spread
from fcs.bench.methods import METHODS, Axis, dotted
from fcs.bench.own_records import drawn, masks
from fcs.bench.presets import write_preset
from fcs.bench.search import Search, folded
from fcs.bench.tasks import inpaints, setup
from fcs.bench.trial import SETTINGS, Trial
from fcs.core.errors import UsageError
from fcs.engine.config import load_config
from fcs.models import Model
from fcs.samplers import NewtonKrylov, ProjectedNewton


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("calls", [7, 12, 20, 41, 100])
def test_every_point_uses_the_budget_and_is_a_sampler(calls: int, space: Space) -> None:
    points = qmc.Halton(len(space.axes), rng=0).random(64).tolist()
    for point in [*points, [0.0] * len(space.axes), [1.0] * len(space.axes)]:
        fitted = space.at(point, calls)
        assert fitted.calls == calls
        assert len(fitted.sampler[space.profile]) == fitted.steps >= FEWEST
        assert sum(fitted.sampler[space.profile]) >= space.fewest
    run, _ = load_config.load(["digits_half"], [*dotted("sampler", fitted.sampler), f"steps={fitted.steps}"])
    assert isinstance(run.sampler, type(space.defaults))
    assert run.sampler.calls(run.steps) == calls


def test_a_budget_that_is_too_small_is_refused() -> None:
    for space in SPACES.values():
        space.at([0.5] * len(space.axes), space.least)
        with pytest.raises(ValueError, match=f"calls={space.least - 1}: expected {space.least} or more"):
            space.at([0.5] * len(space.axes), space.least - 1)


def test_the_default_is_the_samplers_own_where_the_calls_allow() -> None:
    projected, krylov = SPACES["projected"], SPACES["krylov"]
    sampler, at_forty = ProjectedNewton(), projected.default(40)
    assert at_forty.steps == 10
    assert tuple(at_forty.sampler["moves"]) == sampler.moves
    assert at_forty.sampler["growth"] == list(sampler.growth)
    assert projected.default(20).calls <= 20
    assert projected.default(1).calls == 1  # one level, no move
    assert krylov.default(20).sampler["products"] == [1] * 10
    assert {name: krylov.default(20).sampler[name] for name in ("follow", "memory")} == {
        "follow": NewtonKrylov().follow,
        "memory": NewtonKrylov().memory,
    }


def test_what_only_inpainting_knows_is_fitted_and_tuned_for_inpainting_alone() -> None:
    for whole, axes in ((SPACES["projected"], "given"), (METHODS["projected"], "space")):
        names = [{axis.name for axis in getattr(whole.within(inpaints), axes)} for inpaints in (True, False)]
        assert names[0] - names[1] == {"prior_variance"}
    assert SPACES["projected"].within(False).default(20).sampler.keys().isdisjoint({"prior_variance"})


def test_moves_are_spread_evenly_over_the_levels_meant() -> None:
    assert spread(4, 8, 0, 0.5) == [1, 1, 1, 1, 0, 0, 0, 0]
    assert spread(3, 6, 0.34, 1) == [0, 0, 1, 0, 1, 1]
    assert spread(8, 4, 0, 1) == [2, 2, 2, 2]
    assert spread(1, 3, 0.9, 0.5) == [0, 0, 1]  # one level at least is left


def test_a_point_outside_the_cube_is_mirrored() -> None:
    closed, above = [False, False], [False, True]
    point = np.array([-0.25, 0.5, 1.25, 2.5])
    assert folded(point, np.array([closed] * 4)) == [0.25, 0.5, 0.75, 0.5]
    assert folded(point, np.array([above, closed, above, closed])) == [0.25, 0.5, 1.25, 0.5]


def found(search: Search, trials: int, centre: np.ndarray) -> float:
    """The smallest squared distance to a centre that a search finds."""
    told: list[tuple[list[float], float]] = []
    for _ in range(trials):
        point = search.propose(told)
        told.append((point, float(((np.array(point) - centre) ** 2).sum())))
    return min(cost for _, cost in told)


CLOSED = [Axis(name, 0, 1, "linear") for name in "abcd"]


def test_steps_from_the_best_find_more_than_points_that_are_spread() -> None:
    """Twenty bowls of four axes: in the median the search ends at least twice as near as the same number of points."""
    centres = np.random.default_rng(0).random((20, 4))
    ratios = []
    for seed, centre in enumerate(centres):
        points = qmc.Halton(4, scramble=True, rng=seed).random(40)
        ratios.append(found(Search(CLOSED, 40, seed), 40, centre) / ((points - centre) ** 2).sum(1).min())
    assert median(ratios) < 0.2


def test_a_search_repeats_itself_and_passes_over_failures() -> None:
    first, second = Search(CLOSED[:3], 8, 5), Search(CLOSED[:3], 8, 5)
    told: list[tuple[list[float], float]] = []
    for _ in range(8):
        point = first.propose(told)
        assert second.propose(told) == point
        told.append((point, np.inf))  # a setting whose records fail is no reason to stop
        assert all(0 <= share <= 1 for share in point)


def test_a_best_beyond_the_range_is_followed_through_an_open_end() -> None:
    """A bowl that is lowest ten times above the upper bound of a step size, eta within its closed range."""
    axes, best = [Axis("step_size", 0.01, 1.0), Axis("eta", 0, 1, "linear")], []
    for seed in range(20):
        search, told = Search(axes, 40, seed), list[tuple[list[float], float]]()
        for _ in range(40):
            point = search.propose(told)
            assert 0 <= point[1] <= 1
            size, eta = (axis.at(share) for axis, share in zip(axes, point, strict=True))
            told.append((point, abs(np.log10(size / 10)) + abs(eta - 0.9)))
        best.append(axes[0].at(min(told, key=lambda pair: pair[1])[0][0]))
    assert 8 < median(best) < 12
    assert sum(size > 3 for size in best) >= 18


@pytest.mark.parametrize(
    ("axis", "inside", "beyond"),
    [
        (Axis("a", 0.02, 20), (0.02, 0.5, 20), (0.001, 300)),
        (Axis("a", 0.5, 1, "linear"), (0.5, 0.75, 1), ()),
        (Axis("a", 1, 5, "whole"), (1, 3, 5), (6, 9)),
    ],
)
def test_shares_and_values_of_an_axis_are_inverses(
    axis: Axis, inside: tuple[float, ...], beyond: tuple[float, ...]
) -> None:
    for value in inside:
        assert 0 <= axis.share(value) <= 1
        assert axis.at(axis.share(value)) == pytest.approx(value, rel=1e-3)
    for value in beyond:
        assert not 0 <= axis.share(value) <= 1
        assert axis.at(axis.share(value)) == pytest.approx(value, rel=1e-3)
    assert axis.at(1) == axis.high


def test_what_lies_beyond_a_closed_end_counts_as_the_end() -> None:
    assert Axis("a", 0, 1, "linear").share(2) == 1
    assert Axis("a", 1, 5, "whole").share(0) == 0
    assert Axis("a", 0.01, 0.9, closed=True).share(0.95) == 1
    assert Axis("a", 0.01, 0.9, closed=True).share(0) == 0


def test_a_search_starts_from_what_is_known_too() -> None:
    """A known best in a corner: no point is spread there, steps start there."""
    search, told = Search(CLOSED, 40, 0), list[tuple[list[float], float]]()
    for _ in range(40):
        told.append((search.propose(told, [([0.0] * 4, 0.0)]), 1.0))
    near = [float(np.abs(point).max()) < 0.5 for point, _ in told]
    assert sum(near[20:]) > sum(near[:20])


def test_a_model_draws_the_same_records_whatever_their_number(digits: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_records, "BATCH", 4)
    monkeypatch.setattr(own_records, "STEPS", 10)
    many, few = drawn(digits, 8, seed=3), drawn(digits, 5, seed=3)
    assert many.shape == (8, 1, 16, 16)
    assert (many[:4] == few[:4]).all()  # the batches of 4 are the same
    assert (many[:4] != drawn(digits, 4, seed=4)).any()
    assert many.float().std(0).mean() > 20  # of 255: no two alike


def test_masks_of_tasks() -> None:
    assert masks("inpaint-box") == ("box",)
    assert masks("superres4") == (None,)
    assert len(masks("inpaint")) == 3


def fitting(out: Path, task: str, *overrides: str) -> Fitting:
    space = SPACES["projected"].within(inpaints(task))
    return Fitting(setup("digits-16", task), overrides, (0, 1), 20, out, False, space)


def test_a_config_lends_a_fit_nothing_of_its_own_but_what_is_asked_beside_holds(tmp_path: Path) -> None:
    where = setup("faces-64", "inpaint")
    given, _ = load_config.load([where.config], [])
    assert isinstance(given.sampler, ProjectedNewton)
    assert given.sampler.prior_variance == 1
    space = replace(SPACES["projected"], given=())
    for beside, order, variance in (((), 2, 0), (("sampler.order=1", "sampler.prior_variance=.5"), 1, 0.5)):
        fit = Fitting(where, beside, (0, 1), 40, tmp_path, False, space)
        sampler = fit.trial(space.default(40), "a").loaded[0].sampler
        assert isinstance(sampler, ProjectedNewton)
        assert (sampler.order, sampler.prior_variance) == (order, variance)


def test_what_is_fitted_cannot_be_asked_for(tmp_path: Path) -> None:
    fit = fitting(tmp_path, "inpaint", "sampler.memory=2")
    with pytest.raises(UsageError, match=r"sampler\.memory=2: expected no value for what fit sets itself, here 4"):
        fit.trial(fit.space.default(20), "a")


def test_a_preset_says_all_that_its_trials_had(tmp_path: Path) -> None:
    """The scale of the task and what was asked beside the fitted arguments, but nothing of the records judged."""
    beside = ("sampler.fit=false", "guidance=2", "task.noise=0.1", "data.batch_size=7")
    fit = fitting(tmp_path, "superres2", *beside)
    trial = fit.trial(fit.space.default(20), "a")
    write_preset(tmp_path / "one.yaml", fit.setup, trial.loaded[1], ("a line", "scores"))
    wanted, given = trial.loaded[1], load_config.load([str(tmp_path / "one.yaml")], [])[1]
    assert {key: given[key] for key in SETTINGS} == {key: wanted[key] for key in SETTINGS}
    assert given["task"]["init_args"]["scale"] == 2
    assert not given["sampler"]["init_args"]["fit"]
    plain = load_config.load([fit.setup.config], [])[1]
    assert given["data"] == plain["data"]
    assert given["metrics"] == plain["metrics"]


def test_a_setting_is_found_and_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """More trials than finalists, so that there is a choice to make."""
    monkeypatch.setattr(finals, "FINALISTS", 1)
    monkeypatch.setattr(own_records, "STEPS", 10)
    command = ["fit", "--model", "digits-16", "--task", "inpaint-half", "--calls", "7", "--limit", "4"]
    command += ["--trials", "3", "--out", str(tmp_path / "fit"), "data.batch_size=4"]
    assert main(command) == 0
    made = json.loads((tmp_path / "fit" / "fit.json").read_text())
    assert [trial["calls"] for trial in made["trials"]] == [SPACES["krylov"].default(7).calls, 7, 7]
    assert made["trials"][0]["point"] is None
    best = min(made["finals"], key=lambda final: final["energy"]["mean"])
    trial = min(made["trials"][1:], key=lambda trial: trial["energy"]["mean"])
    assert [final["trial"] for final in made["finals"]] == [0, trial["trial"]]
    assert made["finals"][0]["to_the_first"]["mean"] == 0
    assert [final["records"] for final in made["finals"]] == [16, 16]  # four times as many as in a trial
    assert not list((tmp_path / "fit").rglob("seed-*"))  # pictures of trials are not kept
    run, _ = load_config.load([str(tmp_path / "fit" / "digits_half_7.yaml")], [])
    assert run.steps == best["steps"]
    assert isinstance(run.sampler, NewtonKrylov)
    assert list(run.sampler.products) == best["sampler"]["products"]
    monkeypatch.setattr(Trial, "predict", lambda self: pytest.fail("a finished trial ran again"))
    assert main(command) == 0  # the same command continues, and there is nothing left to do
    again = json.loads((tmp_path / "fit" / "fit.json").read_text())
    assert {**again, "date": None} == {**made, "date": None}
    assert "the default" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--calls", "3"], "--calls=3: expected 4 or more"),
        (["--calls", "4", "--sampler", "projected"], "--calls=4: expected 5 or more"),
        (["--sampler", "kryl"], "--sampler=kryl: expected one of projected, krylov; did you mean krylov?"),
        (["--task", "superres4", "--sampler", "krylov"], "--sampler=krylov: expected projected for superres4"),
        (["--trials", "3"], "--trials=3: expected 6 or more"),
        (["--seeds", "0"], "--seeds=0: expected two or more"),
        (["--task", "style"], "--task=style: expected a task"),
        (["--seeds", "0,1", "data.captions=true"], "data.captions=true: expected the option --captions for that"),
    ],
)
def test_mistakes_are_one_line(given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["fit", "--model", "digits-16", "--task", "inpaint-half", "--out", str(tmp_path / "o")]
    assert main([*command, *given]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
