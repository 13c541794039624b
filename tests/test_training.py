"""The recipe of all trainings: its budget, its rate, the mean of its weights, interruption, several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from helpers import forked
from torch import Tensor, nn
from training.fit import Losses, fit
from training.interruption import INTERRUPTED, exit_when_asked
from training.plan import Budget, Plan, Rate, Setting

STEPS = 40
RATE = Rate(0.05, warmup=4)


def new_module() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))


class Regression:
    """A loss on random batches; sends itself SIGTERM once, in the step ``stops``."""

    def __init__(self, module: nn.Module, stops: int | None = None) -> None:
        self.module, self.stops, self.step = module, stops, 0

    def __call__(self, generator: torch.Generator) -> Losses:
        self.step += 1
        if self.step == self.stops:
            os.kill(os.getpid(), signal.SIGTERM)
        x = torch.randn(4, 3, generator=generator)
        return {"mse": (self.module(x) - x.sum(1, keepdim=True)).square().mean(), "_seen": x.mean()}


def setting(folder: Path, seed: int = 0, average: float = 0.9) -> Setting:
    return Setting("model", Plan(folder, Budget(steps=STEPS), seed=seed), RATE, average)


def weights(module: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


def test_a_budget_ends_with_whichever_comes_first() -> None:
    assert Budget(minutes=2).progress(30, 10**6) == 0.25
    assert Budget(steps=50).progress(10**6, 10) == 0.2
    assert Budget(minutes=2, steps=50).progress(30, 40) == 0.8
    assert Budget(minutes=1).progress(61, 0) == 1
    with pytest.raises(ValueError, match="neither minutes nor steps"):
        Budget()


def test_the_rate_warms_up_is_flat_and_falls_straight_to_zero() -> None:
    rate = Rate(1.0, warmup=100, flat=0.4)
    assert [rate.factor(step, 0.0) for step in (0, 49, 99, 200)] == pytest.approx([0.01, 0.5, 1.0, 1.0])
    assert [rate.factor(10**4, share) for share in (0.4, 0.7, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
    cosine = Rate(1.0, warmup=100, flat=0.0, fall="cosine")
    assert [cosine.factor(10**4, share) for share in (0, 1 / 3, 0.5, 1)] == pytest.approx([1.0, 0.75, 0.5, 0.0])


def test_the_average_follows_the_weights_as_its_formula_says(tmp_path: Path) -> None:
    module = new_module()
    trail: list[Tensor] = [weights(module)]

    class Watched(Regression):
        def __call__(self, generator: torch.Generator) -> Losses:
            if self.step:
                trail.append(weights(self.module))
            return super().__call__(generator)

    average, state = fit(module, Watched(module), setting(tmp_path))
    trail.append(weights(module))
    assert (state.step, len(trail)) == (STEPS, STEPS + 1)
    expected = trail[0]
    for step, now in enumerate(trail[1:], 1):
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * now
    torch.testing.assert_close(weights(average), expected)
    assert not torch.allclose(trail[-1], trail[0], atol=0.01)
    assert not average.training


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = new_module()
    average, state = fit(whole, Regression(whole), setting(tmp_path / "whole"))
    handler = signal.getsignal(signal.SIGTERM)
    for stops in (13, 20):  # the second start is interrupted in its 20th step, the 33rd in all
        module = new_module()
        with pytest.raises(SystemExit) as left:
            fit(module, Regression(module, stops), setting(tmp_path / "parts"))
        assert left.value.code == INTERRUPTED == 75
        assert signal.getsignal(signal.SIGTERM) == handler
    module = new_module()
    again, last = fit(module, Regression(module), setting(tmp_path / "parts"))
    assert torch.equal(weights(module), weights(whole))
    assert torch.equal(weights(again), weights(average))
    assert last.step == state.step == STEPS
    assert last.seconds > 0
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {"model.ckpt"}


def test_outside_of_a_training_a_job_ends_at_once_with_the_same_code() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        exit_when_asked()
        with pytest.raises(SystemExit) as left:
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert left.value.code == 75


def test_a_finished_training_is_read_not_repeated(tmp_path: Path) -> None:
    module = new_module()
    average, _ = fit(module, Regression(module), setting(tmp_path))
    other = new_module()
    loss = Regression(other)
    found, state = fit(other, loss, setting(tmp_path))
    assert (loss.step, state.step) == (0, STEPS)
    assert torch.equal(weights(found), weights(average))


def test_a_seed_decides_everything_and_another_gives_another(tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        module = new_module()
        torch.manual_seed(len(found))  # what was random before does not matter
        fit(module, Regression(module), setting(tmp_path / name, seed))
        found.append(weights(module))
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2], atol=1e-3)


def test_what_does_not_require_gradients_stays(tmp_path: Path) -> None:
    module = new_module().eval()
    module[0].requires_grad_(False)
    before = deepcopy(module[0].state_dict())
    average, _ = fit(module, Regression(module), setting(tmp_path))
    assert module.training
    for name, value in module[0].state_dict().items():
        assert torch.equal(value, before[name])
        torch.testing.assert_close(average[0].state_dict()[name], value)


SCRIPT = """
import json, os, signal, sys, warnings
from pathlib import Path
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message="The `srun` command")  # as for all tests: see pyproject.toml
import torch
from torch import nn
from helpers import forked
from training.fit import fit
from training.plan import Budget, Plan, Rate, Setting

folder, ranks, stops = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)
module = nn.Linear(3, 1)
calls = 0

def draw(number):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
    return (module(x) - x.sum(1, keepdim=True)).square().mean()

def loss(generator):
    global calls
    calls += 1
    if calls == stops and os.environ.get("LOCAL_RANK", "0") == "0":
        os.kill(os.getpid(), signal.SIGTERM)
    number = generator.initial_seed()
    parts = [draw(number)] if ranks == 2 else [draw(2 * number), draw(2 * number + 1)]
    return {"mse": sum(parts) / len(parts)}

plan = Plan(folder, Budget(steps=20), ranks=ranks)
average, state = fit(module, loss, Setting("model", plan, Rate(0.05, warmup=4), 0.9))
print(json.dumps([state.step, module.weight.flatten().tolist(), average.weight.flatten().tolist()]))
"""


def run(folder: Path, ranks: int, stops: int = 0) -> subprocess.CompletedProcess[str]:
    script = folder.parent / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(folder), str(ranks), str(stops)]
    clean = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
    return forked.run(command, env=clean | {"PYTHONPATH": os.pathsep.join(sys.path)})


def test_two_processes_learn_as_one_with_both_their_batches_and_end_together(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", 1), run(tmp_path / "two", 2)
    assert one.returncode == two.returncode == 0, two.stderr
    expected, found = json.loads(one.stdout), json.loads(two.stdout)  # rank 1 prints nothing: it does not return
    assert found[0] == expected[0] == 20
    torch.testing.assert_close(torch.tensor(found[1:]), torch.tensor(expected[1:]))

    interrupted = run(tmp_path / "parts", 2, stops=7)
    assert (interrupted.returncode, interrupted.stdout) == (INTERRUPTED, ""), interrupted.stderr
    resumed = run(tmp_path / "parts", 2)
    assert resumed.stdout == two.stdout, resumed.stderr
