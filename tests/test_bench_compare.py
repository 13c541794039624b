"""The comparison: methods and what budgets buy, tasks, rows, tuning; short runs end to end."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from build_digits import HELD_OUT, training_digits, write_sets
from helpers.tiny_models import with_channels
from torch import Tensor

from fcs.bench import trial as trials
from fcs.bench.cli import main
from fcs.bench.comparison import Comparison
from fcs.bench.memory import measure
from fcs.bench.methods import METHODS, Axis, Method, arguments
from fcs.bench.presets import write_config
from fcs.bench.published import ROWS
from fcs.bench.references import reference_features
from fcs.bench.rows import COLUMNS, row
from fcs.bench.tables import table
from fcs.bench.tasks import setup
from fcs.bench.trial import RunFailed, Trial
from fcs.bench.truth import read_truth
from fcs.bench.tune import Tuning, marked
from fcs.core.constraints import Constraint
from fcs.core.denoiser import Denoise
from fcs.core.errors import UsageError
from fcs.core.levels import Level
from fcs.core.package_files import PACKAGE
from fcs.engine.config import load_config
from fcs.models import Model, find, load
from fcs.samplers import ProjectedNewton
from fcs.samplers.base import Noise, StepSampler, ddim_step
from fcs.samplers.dps import LDPS
from fcs.shards.input.decode import Format
from fcs.shards.input.sources import resolve
from fcs.tasks.inpaint import Inpaint
from fcs.tasks.style import Style

EVERY = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@EVERY
def test_overrides_make_the_sampler(method: Method) -> None:
    setting = method.setting([0.5] * len(method.space), 20, superres=False)
    assert all(axis.name in setting for axis in method.space)
    run, _ = load_config.load(["digits_half"], method.overrides(setting))
    made, own = run.sampler, method.build(setting)
    assert type(made) is type(own)
    assert [(made.calls(n), made.backwards(n)) for n in (1, 7)] == [(own.calls(n), own.backwards(n)) for n in (1, 7)]
    for key, value in arguments(setting).items():
        holder = made if hasattr(made, key) else getattr(made, "direction", made)
        if hasattr(holder, key):
            found = getattr(holder, key)
            assert (list(found) if isinstance(found, tuple) else found) == value


@EVERY
def test_a_budget_buys_as_many_levels_as_it_can(method: Method) -> None:
    for budget in (1, 10, 100):
        levels = method.levels_for(budget, lambda n: method.published(n, False))
        if levels is None:
            assert method.cost(method.published(1, False), 1) > budget
        else:
            costs = [method.cost(method.published(n, False), n) for n in (levels, levels + 1)]
            assert costs[0] <= budget < costs[1]


def test_what_is_published() -> None:
    loop = METHODS["newton-k5"]
    assert arguments(loop.published(20, False)) == {"step_sizes": [0.5, 0.4, 0.3, 0.2, 0.1]}
    assert arguments(METHODS["newton-k10"].published(20, True)) == {"step_sizes": [0.1] * 10}
    assert loop.cost(loop.published(20, False), loop.levels) == 220
    assert METHODS["gradient"].cost(loop.published(20, False), 20) == 120 + 2 * 100
    assert METHODS["mmps"].cost(METHODS["mmps"].published(100, False), 100) == 100 + 2 * 500
    assert METHODS["mmps"].published(99, False) == {"iterations": 1}
    assert METHODS["dps"].published(1000, True) == {"step_size": 0.3}
    assert METHODS["mpgd"].published(50, False) == {"step_size": 7.5}
    assert METHODS["repaint"].published(250, False) == {"jump": 10, "passes": 10}
    assert METHODS["repaint"].published(10, False)["jump"] == 1
    run, _ = load_config.load(["emoji_half"], METHODS["dps"].overrides({}, latent=True))
    assert type(run.sampler) is LDPS
    assert {len(row) for rows in ROWS.values() for row in rows} == {4, 5}


def test_axes_reach_their_bounds() -> None:
    assert [Axis("a", 1, 4, "whole").at(share) for share in (0, 0.25, 0.99, 1)] == [1, 2, 4, 4]
    assert [Axis("a", 0.01, 1).at(share) for share in (0, 0.5, 1)] == [0.01, 0.1, 1]
    assert [Axis("a", 0, 1, "linear").at(share) for share in (0, 0.25, 1)] == [0, 0.25, 1]


def test_what_a_method_cannot_do(digits: Model, latent_model: Model) -> None:
    assert METHODS["p2l"].unfit(digits, Inpaint()) == "needs a model with prompts"
    assert METHODS["p2l"].unfit(latent_model, Inpaint()) is None
    assert METHODS["replacement"].unfit(latent_model, Style()) == "needs a constraint Known"
    assert METHODS["exact"].unfit(digits, Inpaint()) is None
    assert "tiny" in str(METHODS["exact"].unfit(latent_model, Inpaint()))


def test_a_model_for_a_method_alone(tmp_path: Path, tiny_sd: Path) -> None:
    half = setup("digits-16", "inpaint-half")
    anchor = METHODS["sd-inpaint"]
    without = Comparison(half, (0, 1), tmp_path).candidate(anchor, 10)
    assert (without.levels, without.notes) == (None, ("needs a model trained for inpainting (--inpaint-model)",))
    with pytest.raises(UsageError, match=r"--inpaint-model=.*expected a model trained for inpainting of 16x16 pixels"):
        Comparison(half, (0, 1), tmp_path, inpaint_model=str(tiny_sd)).candidate(anchor, 10)


def test_the_anchor_walks_its_own_model(tmp_path: Path, tiny_sd: Path) -> None:
    tuned = with_channels(tiny_sd, tmp_path / "tuned", 9)
    where = replace(setup("digits-16", "inpaint-half"), model=str(tiny_sd), config="emoji_half")
    comparison = Comparison(where, (0, 1), tmp_path, inpaint_model=str(tuned))
    entered = comparison.candidate(METHODS["sd-inpaint"], 10)
    assert (entered.levels, entered.notes) == (10, ())
    assert comparison.trial(entered).loaded[0].model.name == str(tuned)
    assert comparison.trial(comparison.candidate(METHODS["ddim"], 10)).loaded[0].model.name == str(tiny_sd)
    assert METHODS["sd-inpaint"].unfit(comparison.inpainting, Style()) == "is for inpainting"


def test_a_consistency_model_says_so_itself(latent_model: Model, tiny_sd: Path, tmp_path: Path) -> None:
    assert "consistency" in str(METHODS["latino"].unfit(latent_model, Inpaint()))
    folder = Path(shutil.copytree(tiny_sd, tmp_path / "lcm"))
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | {"_class_name": "LCMScheduler"}))
    assert METHODS["latino"].unfit(load(find(str(folder))), Inpaint()) is None


def test_tasks_of_models() -> None:
    half = setup("digits-16", "inpaint-half")
    assert (half.config, half.data) == ("digits_half", None)
    assert setup("digits-16", "inpaint-box", "in/*.tar").config == "digits_inpaint"
    assert setup("emoji-64", "inpaint-box").config == "emoji_box"
    assert setup("emoji-64", "inpaint").config == "emoji_inpaint"
    small = setup("digits-16", "superres2")
    assert (small.config, "task.scale=2" in small.overrides) == ("digits_superres", True)
    own = setup("a/b", "superres4", "in/*.tar")
    assert own.config == "sd15_superres4"
    assert {"data.shards=in/*.tar", "task.degrade=true", "trainer.precision=32"} <= set(own.overrides)
    with pytest.raises(UsageError, match="--task=style: expected a task of digits-16: inpaint,"):
        setup("digits-16", "style")
    with pytest.raises(UsageError, match="did you mean inpaint-box"):
        setup("emoji-64", "inpaint-bx")
    for model, task in (("a/b", "inpaint-half"), ("digits-16", "inpaint-box")):
        with pytest.raises(UsageError, match=f"--data=: expected shards with records for {task}"):
            setup(model, task)


def test_a_reference_leaves_out_what_the_records_are_of() -> None:
    shards = str(PACKAGE / "samples" / "emoji" / "seen-plain.tar")
    shape = torch.Size((3, 64, 64))
    facts = read_truth(resolve(shards), Format(*shape)).facts
    whole, less = (reference_features(shards, shape, frozenset(names)) for names in ([], [facts[0]["name"]]))
    assert len(whole) == len(facts)
    assert len(less) == sum(fact["name"] != facts[0]["name"] for fact in facts) == len(facts) - 1


def run(*given: object) -> None:
    assert main([str(word) for word in given]) == 0


COMMON = ("--model", "digits-16", "--task", "inpaint-half", "--methods", "newton-k1,replacement,p2l,newton-k5")
SMALL = ("data.batch_size=4",)
SIZES = {"unseen": 200, "tune": 50, "design": 200}
TRAINING = 1597


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_sets(folder)
    return folder


def test_tuning_sees_training_digits_only(sets: Path) -> None:
    sizes = json.loads((sets / "sizes.json").read_text())
    kinds = {f"{name}{end}.tar": n for name, n in SIZES.items() for end in ("", "-box", "-freeform")}
    assert sizes == kinds | {"train.tar": TRAINING}
    for name in ("tune", "design"):
        truth = read_truth(resolve(str(sets / f"{name}.tar")), Format(1, 16, 16))
        assert max(fact["digit"] for fact in truth.facts) < 1797 - HELD_OUT
        assert len({fact["digit"] for fact in truth.facts}) == SIZES[name]


def test_a_slant_changes_a_digit_a_little(sets: Path) -> None:
    at_a_slant = read_truth(resolve(str(sets / "design.tar")), Format(1, 16, 16))
    digits = torch.tensor([fact["digit"] for fact in at_a_slant.facts])
    straight = torch.from_numpy(training_digits()[0]).double().flatten(1)
    distances = torch.cdist(at_a_slant.pictures.double().flatten(1), straight)
    own = distances[torch.arange(len(digits)), digits]
    # The nearest training digit is its own for most, and it is not that digit itself.
    assert (distances.argmin(1) == digits).double().mean() > 0.8
    assert own.min() > 50  # of 16 x 16 entries of 0 to 255


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, sets: Path) -> Path:
    out = tmp_path_factory.mktemp("tuned")
    run("tune", *COMMON, "--data", sets / "tune.tar", "--trials", 2, "--limit", 3, "--calls", 6, "--out", out, *SMALL)
    return out


class WithAnObject(StepSampler):
    def __init__(self, kind: torch.dtype = torch.float32, shares: tuple[float, ...] = (0.5,), name: str | None = None):
        pass


def test_defaults_that_no_command_line_can_say_are_left_out() -> None:
    own = Method("own", f"{__name__}.WithAnObject", 20, lambda levels, superres: {})
    found = own.own_defaults()
    assert found == [f"sampler={__name__}.WithAnObject", "sampler.shares=[0.5]", "sampler.name=null"]


def test_a_config_lends_a_method_nothing_of_its_own_but_what_is_asked_beside_holds(tmp_path: Path) -> None:
    where = setup("faces-64", "inpaint")
    assert load_config.load([where.config], [])[0].sampler.prior_variance == 1  # type: ignore[attr-defined]
    for beside, found in (((), 0), (("sampler.prior_variance=0.5",), 0.5)):
        comparison = Comparison(where, (0, 1), tmp_path, beside)
        run, _ = comparison.trial(comparison.candidate(METHODS["projected"], 40)).loaded
        assert (run.sampler.prior_variance, run.sampler.moves) == (found, ProjectedNewton().moves)  # type: ignore[attr-defined]


def test_trials_begin_with_the_published_setting(
    tuned: Path, sets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = json.loads((tuned / "trials.json").read_text())
    newton, replacement = made["methods"]["newton-k1"], made["methods"]["replacement"]
    assert newton[0]["setting"] == METHODS["newton-k1"].published(2, False)
    assert newton[0]["setting"] != newton[1]["setting"]
    (chosen,) = (one for one in newton if one["chosen"])
    assert set(chosen["finals"]) == {"1", "2"}  # each once more with other seeds, which decide
    assert min(chosen["finals"], key=lambda number: chosen["finals"][number]["mean"]) == str(chosen["trial"])
    assert chosen["finals"]["1"] != newton[0]["energy"]
    assert len(replacement) == 1  # nothing to tune
    assert replacement[0]["chosen"]
    assert "p2l" not in made["methods"]
    assert all(one["calls"] + 2 * one["backwards"] <= 6 for one in newton)
    monkeypatch.setattr(Trial, "predict", lambda self: pytest.fail("a finished trial ran again"))
    common = ("--data", sets / "tune.tar", "--trials", 2, "--limit", 3, "--calls", 6, "--out", tuned, *SMALL)
    run("tune", *COMMON, *common)
    again = json.loads((tuned / "trials.json").read_text())
    assert again["methods"] == made["methods"]
    other = ("--trials", "2", "--limit", "4", "--calls", "6", "--out", str(tuned), *SMALL)
    assert main(["tune", *COMMON, "--data", str(sets / "tune.tar"), *other]) == 2
    assert "a folder of its own" in capsys.readouterr().err


def test_a_setting_that_the_budget_does_not_buy_is_no_trial(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six calls buy a level of four or five moves of the local direction, and none of more."""
    monkeypatch.setattr(Trial, "predict", lambda self: None)
    score = {"energy_own": {"mean": 1.0, "low": 0.5, "high": 1.5}, "records": 1, "failed": 0, "single": {}}
    monkeypatch.setattr(Trial, "evaluate", lambda self: score)
    comparison = Comparison(setup("digits-16", "inpaint-half", str(sets / "tune.tar")), (0, 1), tmp_path)
    wide = replace(METHODS["local"], space=(Axis("moves", 1, 12, "whole"),))
    tried = list(Tuning(comparison, 6, 12, 0).tried(wide))
    assert len(tried) == 12
    assert max(one["setting"]["moves"] for one in tried) <= 5


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, tuned: Path, sets: Path) -> Path:
    out = tmp_path_factory.mktemp("compared")
    reference = ("--reference", sets / "train.tar")
    run("compare", *COMMON, "--limit", 4, "--calls", "6,9", "--tuned", tuned, *reference, "--out", out, *SMALL)
    return out


def rows_of(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    rows = json.loads((out / "compare.json").read_text())["rows"]
    return {(row["method"], row["budget"]): row for row in rows}


def test_a_row_for_every_method(compared: Path, tuned: Path) -> None:
    rows = rows_of(compared)
    assert len(rows) == 8
    assert all(set(COLUMNS) <= set(row) for row in rows.values())
    newton = rows["newton-k1", 6]
    assert (newton["calls"], newton["backwards"], newton["levels"], newton["records"]) == (6, 0, 2, 4)
    assert newton["energy_low"] <= newton["energy"] <= newton["energy_high"]
    assert all(newton[name] is not None for name in ("seconds", "retrieval", "residual", "kid", "fid", "psnr", "ssim"))
    assert newton["difference"] is None
    assert rows["replacement", 6]["difference"] == pytest.approx(rows["replacement", 6]["energy"] - newton["energy"])
    chosen = next(
        one for one in json.loads((tuned / "trials.json").read_text())["methods"]["newton-k1"] if one["chosen"]
    )
    assert newton["setting"] == chosen["setting"]
    assert "tuned" not in newton["note"]
    assert "tuned at 6 calls" in rows["newton-k1", 9]["note"]


def test_a_method_that_does_not_apply_keeps_its_row(compared: Path) -> None:
    for name, reason in (("p2l", "needs a model with prompts"), ("newton-k5", "one level costs 11 calls")):
        made = rows_of(compared)[name, 6]
        assert (made["calls"], made["backwards"], made["note"]) == (0, 0, reason)
        assert all(made[column] is None for column in COLUMNS if column not in ("method", "calls", "backwards", "note"))


def test_what_is_written(compared: Path) -> None:
    names = {path.name for path in compared.iterdir() if path.is_file()}
    assert names == {"compare.json", "compare.md", "compare.png", "pictures-6.png", "pictures-9.png"}
    lines = (compared / "compare.md").read_text().splitlines()
    assert len(lines) == 2 + 8
    assert len({line.count("|") for line in lines}) == 1
    rows = list(rows_of(compared).values())
    beside = table(rows, "newton-k1", [{"method": "PSLD", "fid": 74.02, "note": "published"}])
    assert beside.endswith("| PSLD | 74.02 | published |\n")


def test_a_tuned_setting_becomes_a_config(compared: Path) -> None:
    assert [path.name for path in (compared / "configs" / "6").iterdir()] == ["digits_half_newton_k1.yaml"]
    path = compared / "configs" / "9" / "digits_half_newton_k1.yaml"
    row = rows_of(compared)["newton-k1", 9]
    run, settings = load_config.load([str(path)], [])
    own = METHODS["newton-k1"].overrides(row["setting"])
    _, expected = load_config.load(["digits_half"], [*own, f"steps={row['levels']}"])
    assert {key: settings[key] for key in ("sampler", "steps", "task", "data")} == {
        key: expected[key] for key in ("sampler", "steps", "task", "data")
    }
    assert run.sampler.calls(run.steps) == row["calls"]
    text = path.read_text()
    assert f"energy score {row['energy']:.3g} ({row['energy_low']:.3g} to" in " ".join(text.replace("#", "").split())
    assert "The best of 2 trials" in text


def test_a_config_names_the_model_that_was_compared(tmp_path: Path, tuned: Path) -> None:
    tried = json.loads((tuned / "trials.json").read_text()) | {"model": "digits-16-flow"}
    (tmp_path / "trials.json").write_text(json.dumps(tried))
    comparison = Comparison(setup("digits-16-flow", "inpaint-half"), (0, 1), tmp_path, tuned=tmp_path)
    scores = {"method": "newton-k1", "calls": 6, "backwards": 0, "records": 4}
    scores |= {"energy": 2.0, "energy_low": 1.0, "energy_high": 3.0}
    candidate = comparison.candidate(METHODS["newton-k1"], 6)
    write_config(
        comparison, candidate, scores, {"date": "2026-01-01", "hardware": "none", "shards": ["half.tar"]}, tmp_path
    )
    run, _ = load_config.load([str(tmp_path / "digits_half_newton_k1.yaml")], [])
    assert run.model.name == "digits-16-flow"


class Idle(StepSampler):
    """A sampler of one's own: DDIM's steps, whatever the constraint."""

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        return ddim_step(x, denoise(x, t), t, s, randn)

    def calls(self, steps: int) -> int:
        return steps


def test_own_method_own_shards_and_an_interruption(
    tmp_path: Path, sets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = f"{__name__}.Idle"
    given = ["compare", "--model", "digits-16", "--task", "inpaint", "--methods", f"replacement,{own}", "--calls", "3"]
    given += ["--data", str(sets / "design*.tar"), "--limit", "3", "--out", str(tmp_path), *SMALL]
    predict, begun = trials.fcs_predict, []

    def interrupted(arguments: list[str]) -> int:
        begun.append(arguments)
        return 75 if len(begun) == 3 else predict(arguments)

    monkeypatch.setattr(trials, "fcs_predict", interrupted)
    assert main(given) == 75
    assert [row["method"] for row in rows_of(tmp_path).values()] == ["replacement"]
    assert main(given) == 0
    assert len(begun) == 3 + 2  # two seeds of one's own; replacement was done
    rows = rows_of(tmp_path)
    assert rows[own, 3]["calls"] == 3
    assert rows[own, 3]["residual"] > rows["replacement", 3]["residual"]
    assert rows[own, 3]["difference_low"] <= rows[own, 3]["difference"] <= rows[own, 3]["difference_high"]
    monkeypatch.setattr(trials, "fcs_predict", lambda arguments: pytest.fail("a finished run ran again"))
    assert main(given) == 0
    assert rows_of(tmp_path) == rows


def test_one_seed_and_published_settings(tmp_path: Path) -> None:
    given = ("--methods", "replacement,newton-k1", "--limit", 3, "--seeds", 1, "--calls", 3, "--out", tmp_path, *SMALL)
    run("compare", *COMMON[:4], *given)
    made = rows_of(tmp_path)["newton-k1", 3]
    assert made["energy"] is None
    assert made["diversity"] is None
    assert made["psnr"] is not None
    assert "one seed: no energy score" in made["note"]
    assert "no KID or FID without --reference" in made["note"]
    assert "not tuned: published settings" in made["note"]


def test_products_are_traded_for_levels() -> None:
    method = METHODS["krylov"]
    published = method.published(10, False)
    assert method.build(published).products == (1,)
    assert method.setting(method.point(published) or [], 10, False)["products_each"] == 1
    bought = {each: method.levels_for(40, lambda levels, each=each: {"products_each": each}) for each in (0, 1, 3)}  # type: ignore[misc]
    assert bought == {0: 40, 1: 20, 3: 10}
    assert "sampler.products=[3]" in method.overrides({"products_each": 3})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--methods", "newton"], "--methods=newton: expected all.*did you mean newton-k"),
        (["--methods", "no.such.Method"], "sampler=no.such.Method: expected a class that can be imported"),
        (["--methods", "fcs.tasks.Inpaint"], "sampler=fcs.tasks.Inpaint: expected a sampler"),
        (["--calls", "many"], "--calls=many"),
        (["--seeds", "a"], "--seeds=a"),
        (["--seeds", "0,1,00"], "--seeds=0,1,00: expected each seed once"),
        (["--limit", "0"], "--limit=0"),
        (["--against", "newton-k2"], "--against=newton-k2: expected one of --methods; did you mean newton-k"),
        (["--tuned", "nowhere"], "--tuned=nowhere: expected a folder"),
        (["--model", "digits-17"], "model.name=digits-17: .*did you mean digits-16"),
        (["--task", "inpaint-hal"], "did you mean inpaint-half"),
        (["--method", "ddim"], "--method: expected an option of --help; did you mean --methods"),
        (["guidanse=2"], "guidanse.*did you mean guidance"),
        (["seed=3"], "seed=3: expected the option --seeds for that"),
        (["data.limit=3"], "data.limit=3: expected the option --limit for that"),
        (["steps=5"], "steps=5: expected no value for what newton-k1 sets itself, here "),
        (["--methods", "krylov", "sampler.products=[2]"], r"products=\[2\]: expected no value .* krylov .* here \[1\]"),
    ],
)
def test_mistakes_are_one_line(given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *COMMON, *given, "--out", str(tmp_path / "o")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert re.search(said, line), line
    assert not (tmp_path / "o").exists()


def test_trials_of_another_task_are_refused(tmp_path: Path, tuned: Path) -> None:
    other = Comparison(setup("digits-16", "superres"), (0, 1), tmp_path, tuned=tuned)
    with pytest.raises(UsageError, match=re.escape("expected trials of superres, these are of inpaint-half")):
        other.candidate(METHODS["newton-k1"], 6)


def test_settings_of_another_model_are_noted(tmp_path: Path, tuned: Path) -> None:
    other = Comparison(setup("digits-16-flow", "inpaint-half"), (0, 1), tmp_path, tuned=tuned)
    assert other.candidate(METHODS["newton-k1"], 6).notes == ("tuned on digits-16",)


def test_memory_is_measured_on_a_batch_of_noise(tmp_path: Path) -> None:
    small = ["data.batch_size=2", f"out={tmp_path}/o"]
    assert isinstance(measure("digits_half", small), int)
    assert isinstance(measure("digits_superres", [*small, "sampler=psld"]), int)
    assert not (tmp_path / "o").exists()


def test_a_method_whose_records_all_fail_keeps_its_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = Comparison(setup("digits-16", "inpaint-half"), (0, 1), tmp_path)
    monkeypatch.setattr(trials, "fcs_predict", lambda arguments: 4)
    made, report = row(comparison, comparison.candidate(METHODS["ding"], 20), measured=False)
    assert (made["calls"], made["energy"], report) == (19, None, None)
    assert made["note"].endswith("every record failed")
    monkeypatch.setattr(trials, "fcs_predict", lambda arguments: 74)
    with pytest.raises(RunFailed):
        row(comparison, comparison.candidate(METHODS["ding"], 20), measured=False)


def test_trials_say_which_numbers_lie_beyond_their_range(tmp_path: Path) -> None:
    dps = METHODS["dps"]
    assert [axis.name for axis in dps.space] == ["step_size", "eta"]
    tried = [{"trial": 1, "point": [0.5, 1.0]}, {"trial": 2, "point": [1.2, 0.3]}]
    finalists = [{**one, "energy": {"mean": 3.0 - one["trial"]}} for one in tried]
    first, second = marked(dps, tried, finalists, tmp_path)
    assert first == tried[0]
    assert (second["chosen"], second["beyond"], second["finals"]["1"]) == (True, ["step_size"], {"mean": 2.0})
    with pytest.raises(UsageError, match="records failed in every setting"):
        marked(dps, tried, [], tmp_path)
