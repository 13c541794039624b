"""The job that measures differences in 16 bits: a linear network bends nowhere, rounding falls with the length."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import precision
import pytest
import torch
from analysis import codec
from analysis.arithmetic import arithmetics
from analysis.codec import ten_bits
from analysis.equality import AUTO, FLOAT32, arms, hand_on, same_lengths, verdict
from analysis.rounding import Gauge, Passing, Place
from analysis.roundings import by_level, summary, summary_table
from helpers.networks import SmallNetwork
from torch import Tensor, nn

from fcs.bench.trial import Trial
from fcs.core.constraints import Known
from fcs.core.denoiser import Denoiser, Guided
from fcs.core.directions import Newton
from fcs.core.errors import UsageError
from fcs.core.operators import Pixels
from fcs.core.per_sample import RecordNoise
from fcs.models.base import Model, Schedule
from fcs.samplers import InexactNewton
from fcs.shards.ledger.layout import DIFFERENCE
from fcs.tasks import half_precision
from fcs.tasks.measured import EncodedMeasured

DELTAS = (0.005, 0.05, 0.5)
JVP = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, at its first forward mode


class Linear(nn.Module):
    """One convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        nn.init.normal_(self.mix.weight, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        return self.mix(x)


class Tiny(Model):
    """A network on pictures of 8 pixels."""

    def __init__(self, network: nn.Module) -> None:
        abar = torch.linspace(0.999, 0.01, 1000, dtype=torch.float64)
        super().__init__(Denoiser(network, "v"), Schedule(abar), (1, 8, 8), (1, 8, 8))
        self.requires_grad_(False)

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, z: Tensor) -> Tensor:
        return z

    def guided(self, prompts: Sequence[str], negative: str = "", scale: float = 1.0) -> Guided:
        return Guided(self.denoiser)


def gauge(network: nn.Module, levers: Sequence[str], at: int = 2) -> Gauge:
    """What is measured at one place, three records of which the last has no error."""
    model = Tiny(network)
    levels = model.schedule.levels(4)
    found = [one.measured(model, levels) for one in arithmetics(model, ["bf16"], levers)]
    made = Gauge(model, found, DELTAS, torch.float64)
    randn, f = RecordNoise([1, 2, 3], "cpu"), model.guided([""] * 3)
    x, e = randn(model.shape), randn(model.shape)
    e[2] = 0
    with torch.no_grad():
        made(Place(lambda x: f(x, levels[at]), x, e, levels[at], 0))
    return made


def test_a_linear_network_is_all_rounding() -> None:
    rows = gauge(Linear(), ["plain", "ends"]).rows
    assert len(rows) == 2 * (len(DELTAS) + 2)
    assert all(one["truncation"]["least"] > 1 - 1e-12 for one in rows)
    assert all(one["rounding"]["mean"] == pytest.approx(one["whole"]["mean"], abs=1e-9) for one in rows)
    for one in rows:
        if one["arithmetic"] == "bf16, ends":  # all of this network, so nothing is left to round but float32
            assert one["rounding"]["least"] > 1 - 1e-5
    plain = [one["rounding"]["mean"] for one in rows if one["arithmetic"] == "bf16" and one["way"] != "auto"]
    assert plain[0] < plain[1] < plain[2]
    assert plain[0] < 0.9
    assert plain[2] > 0.999


def test_a_bent_network_is_cut_off_with_length_and_less_from_both_sides() -> None:
    rows = gauge(SmallNetwork(1, 0), ["sums"]).rows
    fixed = [one for one in rows if one["way"] != "auto"]
    cut = [one["truncation"]["mean"] for one in fixed]
    assert cut[0] > cut[1] > cut[2]
    assert [one["delta"] for one in fixed] == pytest.approx(DELTAS)
    forward, central = (one for one in rows if one["way"] == "auto")
    assert (forward["difference"], central["difference"]) == ("forward", "central")
    assert forward["delta"] == central["delta"]
    assert central["whole"]["mean"] > forward["whole"]["mean"]
    assert forward["whole"]["mean"] >= max(one["whole"]["mean"] for one in fixed) - 0.01


class Stubborn(Linear):
    """No derivative forward."""

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        if torch.autograd.forward_ad.unpack_dual(x).tangent is not None:
            raise RuntimeError("no rule\nfor that")
        return x


@JVP
def test_forward_mode_only_rounds_or_says_why_not() -> None:
    (row,) = gauge(SmallNetwork(1, 0), ["forward-mode"]).rows
    assert row["truncation"]["least"] == 1
    assert row["whole"]["least"] > 0.995
    made = gauge(Stubborn(), ["forward-mode"])
    assert (made.rows, made.refused) == ([], {"bf16, forward-mode": "no rule"})


def test_a_path_that_is_shown_stays_the_path() -> None:
    model, places = Tiny(SmallNetwork(1, 0)), []
    levels, f = model.schedule.levels(3), model.guided([""] * 2)
    known = torch.zeros(1, 1, 8, 8)
    known[..., :4] = 1
    ends = []
    for direction in (Newton(), Passing(Newton(), places.append)):
        randn = RecordNoise([4, 5], "cpu")
        sampler = InexactNewton(direction, [0.4, 0.2])
        with torch.no_grad():
            ends.append(sampler(randn(model.shape), levels, f, Known(torch.ones(2, 1, 8, 8), known), randn))
    assert torch.equal(*ends)
    assert [(place.level, place.moves) for place in places] == [(t, k) for t in levels[:-1] for k in (0, 1)]


def test_what_passes_is_told_by_levels_up_to_900() -> None:
    def row(t: float, rounding: float) -> dict[str, object]:
        cosine = {"mean": rounding, "least": rounding}
        what = {"arithmetic": "bf16", "dtype": "bf16", "difference": "forward", "way": "auto", "t": t, "moves": 0}
        return {**what, "delta": t / 1000, "rounding": cosine, "truncation": cosine, "whole": cosine, "call": 0.001}

    (good,) = summary([row(999, 0.5), row(900, 0.96), row(100, 0.99)])
    assert (good["rounding"], good["rounding_above"], good["passes"], good["delta"]) == (0.96, 0.5, True, [0.1, 0.999])
    (bad,) = summary([row(900, 0.94), row(100, 0.99)])
    assert (bad["passes"], bad["rounding_above"]) == (False, None)
    assert summary_table([good, bad]).splitlines()[2].endswith("| 1 | yes |")
    (table,) = by_level([row(999, 0.5), row(900, 0.96)])
    assert table.splitlines()[-1] == "| 900 | 0 | 0.960 / 0.960 (0.9) |"


@pytest.mark.parametrize(
    ("gap", "difference", "said"),
    [
        ((4, 3, 5), (0, -0.2, 0.2), "equal"),
        ((4, 3, 5), (0, -0.3, 0.2), "not worse"),
        ((4, 3, 5), (0, -0.3, 0.21), "undecided"),
        ((-4, -5, -3), (0, -0.3, 0.2), "not worse"),
        ((4, 3, 5), (0.5, 0.21, 0.9), "worse"),
        ((4, 3, 5), (0.3, 0.1, 0.5), "undecided"),
        ((4, 3, 5), (-0.5, -0.9, -0.21), "better"),
        ((4, -1, 9), (0, 0, 0), "the set cannot decide"),
    ],
)
def test_verdicts(gap: tuple[float, ...], difference: tuple[float, ...], said: str) -> None:
    names = ("mean", "low", "high")
    told = verdict(dict(zip(names, gap, strict=True)), dict(zip(names, difference, strict=True)))
    assert told.startswith(said)


def run(*given: str) -> None:
    args, overrides = precision.parser().parse_known_args(list(given))
    precision.run(args, overrides)


def test_the_job_on_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_precision, "PROBES", 2)
    small = ("--records", "1", "--deltas", "0.05,0.5", "--levers", "plain,sums", "--out", str(tmp_path / "o"))
    run("--model", "digits-16", *small, "steps=2")
    made = json.loads((tmp_path / "o" / "precision.json").read_text())
    assert {one["t"] for one in made["rows"]} == {999.0, 499.0}
    assert len(made["rows"]) == 2 * 2 * 4
    assert set(made["lengths"]) == {"bf16", "bf16, sums"}
    names = {"precision.json", "precision.md", "precision-bf16.png"}
    assert {path.name for path in (tmp_path / "o").iterdir()} == names


class Told:
    """Reports of arms without their runs: each record's energy score and PSNR are of one arm a little off another's."""

    def __init__(self, energy: dict[str, float], psnr: dict[str, float]) -> None:
        self.energy, self.psnr, self.asked = energy, psnr, []

    def report(self, trial: Trial) -> dict[str, object]:
        assert trial.loaded
        name = trial.out.name
        self.asked.append(name)
        spread = [-0.05, 0.0, 0.05] if name == "bf16-auto" else [0.0] * 3
        single = {"record": ["a", "b", "c"], "group": [0, 1, 2]}
        single["energy_own"] = [self.energy[name] + apart for apart in spread]
        single["psnr"] = [self.psnr.get(name, 30.0) + apart for apart in spread]
        figures = {key: {"mean": sum(single[key]) / 3, "low": 0.0, "high": 0.0} for key in ("energy_own", "psnr")}
        costs = {"records": 3, "failed": 0, "nfe": 60, "seconds": 1.0, "residual": 0.1}
        return {**costs, **figures, "retrieval": figures["psnr"], "single": single}


def test_arms_are_compared_with_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    energy = {"float32": 20.0, "replacement": 24.0, "bf16-0.005": 21.0, "bf16-auto": 20.3}
    told = Told({**energy, "float32-bf16-lengths": 20.25}, {})
    monkeypatch.setattr(Trial, "report", lambda trial: told.report(trial))
    run("--model", "digits-16", "--records", "0", "--quality", "--limit", "3", "--out", str(tmp_path / "o"))
    rows = {one["arm"]: one for one in json.loads((tmp_path / "o" / "precision.json").read_text())["quality"]}
    assert {name: (one["verdict"], one["rounding"]) for name, one in rows.items()} == {
        "float32": ("", ""),
        "replacement": ("", ""),
        "bf16-auto": ("worse", "equal"),  # beyond .2, a twentieth of 4, from delta .005; within it over its own lengths
        "float32-bf16-lengths": ("worse", ""),
        "bf16-0.005": ("worse", ""),
    }
    assert rows["bf16-auto"]["difference_to_lengths"]["mean"] == pytest.approx(0.05)
    assert "| bf16-auto | 60 | 1 | 20.3 (" in (tmp_path / "o" / "precision.md").read_text()


@pytest.mark.parametrize(
    ("fallen", "said"), [(0.15, "equal"), (0.19, "undecided: the interval is too wide"), (0.3, "worse")]
)
def test_what_is_restored_is_judged_by_its_psnr(
    fallen: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    psnr = {"float32": 30.0, "bf16-auto": 30.0 - fallen}
    told = Told(dict.fromkeys(psnr, 1.0), psnr)
    monkeypatch.setattr(Trial, "report", lambda trial: told.report(trial))
    small = ["--records", "0", "--quality", "--no-published", "--out", str(tmp_path / "o")]
    run("--model", "emoji-64", "--config", "emoji_superres4", *small)
    rows = json.loads((tmp_path / "o" / "precision.json").read_text())["quality"]
    assert told.asked == ["float32", "bf16-auto"]  # nothing is replaced
    assert [(one["verdict"], one["rounding"]) for one in rows] == [("", ""), (said, "")]
    assert rows[1]["difference_to_first"]["mean"] == pytest.approx(-fallen)


def test_lengths_are_handed_on_to_float32(tmp_path: Path) -> None:
    base = Trial("digits_half", (), (0, 1), tmp_path)
    for seed in base.seeds:
        measured = tmp_path / "bf16-auto" / f"seed-{seed}" / DIFFERENCE
        measured.parent.mkdir(parents=True)
        measured.write_text(str(seed))
    hand_on(base, "bf16-auto", same_lengths("bf16"))
    given = sorted(path.read_text() for path in (tmp_path / same_lengths("bf16")).rglob("*.json"))
    assert given == ["0", "1"]
    overrides = arms(["bf16"])
    assert overrides[same_lengths("bf16")] == (FLOAT32, AUTO)  # auto takes what it finds in its folder
    order = list(overrides)
    assert order.index("bf16-auto") < order.index(same_lengths("bf16"))


@JVP
def test_the_job_on_a_latent_model(tmp_path: Path, tiny_sd: Path) -> None:
    small = ("--records", "1", "--deltas", "0.1", "--every", "2", "--out", str(tmp_path / "o"))
    run("--model", str(tiny_sd), "--config", "emoji_half", *small, "steps=2", "sampler.step_sizes=[0.5,0.2,0.1]")
    made = json.loads((tmp_path / "o" / "precision.json").read_text())
    assert {(one["t"], one["moves"]) for one in made["rows"]} == {(999.0, 0), (999.0, 2)}
    assert len({one["arithmetic"] for one in made["rows"]}) + len(made["refused"]) == 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--model", "nobody/nothing"], "--config"),
        (["--model", "digits-16", "--every", "0"], "--every=0: expected 1 or more"),
        (["--model", "digits-16", "--dtypes", "bf17"], "--dtypes=bf17: expected of bf16, fp16"),
        (["--model", "digits-16", "--levers", "none"], "--levers=none"),
        (["--model", "digits-16", "--deltas", "x"], "--deltas=x: expected numbers"),
        (["--model", "digits-16", "sampler=replacement"], "sampler=replacement: expected newton"),
        (["--model", "digits-16", "--records", "0", "--quality", "--seeds", "0"], "--seeds=0: expected two or more"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, given: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(*given, "--out", str(tmp_path / "o"))
    assert not (tmp_path / "o").exists()


def test_tf32_is_imitated_by_ten_bits_to_the_nearest() -> None:
    ulp = 2.0**-10
    given = torch.tensor(
        [1.0, 1 + ulp, 1 + 0.49 * ulp, 1 + 0.51 * ulp, 1 + 0.5 * ulp, 1 + 1.5 * ulp, -1 - 0.51 * ulp, 0]
    )
    expected = torch.tensor([1.0, 1 + ulp, 1, 1 + ulp, 1, 1 + 2 * ulp, -1 - ulp, 0])
    assert torch.equal(ten_bits(given), expected)


class LinearCodec(Tiny):
    """An autoencoder of one convolution either way."""

    def __init__(self) -> None:
        super().__init__(Linear())
        self.vae = nn.ModuleDict({"encoder": Linear(), "decoder": Linear()}).requires_grad_(False)

    def encode(self, pictures: Tensor) -> Tensor:
        return self.vae["encoder"].mix(pictures)

    def decode(self, z: Tensor) -> Tensor:
        return self.vae["decoder"].mix(z)


def test_a_linear_codec_goes_astray_by_rounding_alone() -> None:
    model, generator = LinearCodec(), torch.Generator().manual_seed(2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    target, x0 = torch.randn(2, 3, 1, 8, 8, generator=generator)
    constraint = EncodedMeasured(target, Pixels(torch.ones(1, 8, 8)), model.decode, model.encode, 0.05)
    rows = codec.measured(model, [(constraint, x0)], [0.05, 0.5])
    least = {(row["arithmetic"], row["part"], row["difference"]): row["least"] for row in rows}
    assert len(least) == 2 * (1 + 3 + 3)
    assert all(least["float32", "both", difference] > 1 - 1e-6 for difference in (0.05, 0.5))
    # A rounding of 2^-11 (TF32) or 2^-8 (bf16) of entries near 1, over differences of h: an error of their quotient.
    for way, unit in (("tf32", 2**-11), ("bf16", 2**-8)):
        for difference in (0.05, 0.5):
            assert least[way, "encoder", difference] > 1 - (10 * unit / difference) ** 2
        assert least[way, "encoder", 0.5] > least[way, "encoder", 0.05]
    assert least["bf16", "both", 0.05] < least["tf32", "both", 0.05] < least["float32", "both", 0.05]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
