"""Completions against a posterior that is known: perfect samplers, biased ones, and a classifier that errs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fcs
from fcs.bench.figures import read_attributes
from fcs.bench.paired import differences
from fcs.bench.posterior import Readings, excess, readings_of, report, total_variation, tv_difference, variety
from fcs.bench.truth import read_truth
from fcs.metrics.attributes import Attribute, World
from fcs.shards.input.decode import Format
from fcs.shards.input.sources import resolve

P = (np.array([0.5, 0.3, 0.2]), np.array([0.25, 0.75]), np.array([0.4, 0.6]))
WORLD = World(
    tuple(Attribute(name, tuple("xyz"[: len(p)]), p) for name, p in zip("abc", P, strict=True)),
    excluded=(((0, 0), (1, 1)),),
)
N, S = 400, 4


def readings(perfect: bool = True, seed: int = 0) -> Readings:
    """Attribute a is shown, b is hidden (and depends on a), c is hidden (and depends on nothing)."""
    rng = np.random.default_rng(seed)
    a = rng.choice(3, N, p=P[0])
    b = np.where(a == 0, 0, rng.choice(2, N, p=P[1]))
    truth = np.stack([a, b, rng.choice(2, N, p=P[2])], 1)
    made = [(a, np.where(a == 0, 0, rng.choice(2, N, p=P[1])), rng.choice(2, N, p=P[2])) for _ in range(S)]
    found = np.stack([np.stack(one, 1) for one in made])
    if not perfect:
        found[:, :, 2] = 1
    states = np.tile(np.array(["determined", "open", "open"]), (N, 1))
    return Readings(WORLD, found, truth, truth, states)


def test_classes_that_exclude_each_other_change_the_posterior() -> None:
    assert WORLD.posterior(1, {0: 0}).tolist() == [1, 0]
    assert WORLD.posterior(1, {0: 2}) == pytest.approx([0.25, 0.75])
    assert WORLD.posterior(2, {0: 0}).tolist() == [0.4, 0.6]
    # by hand: P(a = x, b = x) = .125 and P(a != x, b = x) = .125, P(b = y) = .375, divided by their sum
    assert WORLD.posterior(1, {}) == pytest.approx([0.25 / 0.625, 0.375 / 0.625])


def test_attributes_in_part_have_the_share_that_has_the_true_class() -> None:
    base = readings()
    assert "part" not in report(base)
    states = base.states.copy()
    states[:100, 2] = "part"
    found = base.found.copy()
    found[:, :, 2] = base.truth[:, 2]
    found[0, :50, 2] = 1 - found[0, :50, 2]  # of four completions of a hundred records
    assert report(replace(base, states=states, found=found))["part"] == {"share": 1 - 50 / 400, "n": 100}


def test_the_world_is_read_as_it_was_written(tmp_path: object) -> None:
    path = tmp_path / "attributes.json"  # type: ignore[operator]
    path.write_text(WORLD.as_json())
    again = World.read(path)
    assert again.excluded == WORLD.excluded
    assert [(one.name, one.classes, one.probabilities.tolist()) for one in again.attributes] == [
        (one.name, one.classes, one.probabilities.tolist()) for one in WORLD.attributes
    ]
    assert again.labels({"a": "z", "b": "x", "c": "y"}) == [2, 0, 1]


def test_a_perfect_sampler_is_consistent_and_calibrated() -> None:
    found = report(readings())
    assert found["consistency"]["a"]["share"] == found["consistency"]["a"]["floor"] == 1
    assert set(found["calibration"]) == {"b", "c", "mean"}
    for name in "bc":
        one = found["calibration"][name]
        assert one["p"] > 0.01
        assert one["tv"] < 4 * one["perfect"]
        assert one["variety"] == pytest.approx(one["expected"], abs=0.05)
    # of a Bernoulli pooled over n draws, E|p^ - p| is sqrt(2 p q / (pi n)) to first order
    perfect = found["calibration"]["c"]["perfect"]
    assert perfect == pytest.approx((2 * 0.4 * 0.6 / (np.pi * N * S)) ** 0.5, rel=0.1)


def test_one_class_always_is_neither_calibrated_nor_varied() -> None:
    one = report(readings(perfect=False))["calibration"]["c"]
    assert one["tv"] == pytest.approx(0.4)
    assert one["variety"] == 0
    assert one["expected"] == pytest.approx(0.48)
    assert one["p"] < 0.001
    assert one["low"] == pytest.approx(0.4)
    assert one["high"] == pytest.approx(0.4)
    assert one["chi_square"] == pytest.approx(N * S * (0.4 + 0.4**2 / 0.6))


def test_errors_of_the_classifier_are_in_what_is_expected() -> None:
    """A classifier that reads every c = x as y half of the time: a perfect sampler is still perfect."""
    base = readings()
    rng = np.random.default_rng(1)

    def misread(labels: np.ndarray) -> np.ndarray:
        read = labels.copy()
        c = read[..., 2]
        read[..., 2] = np.where((c == 0) & (rng.random(c.shape) < 0.5), 1, c)
        return read

    erring = replace(base, found=misread(base.found), read_truth=misread(base.truth))
    one = report(erring)["calibration"]["c"]
    assert one["wanted"][1] == pytest.approx(0.8, abs=0.05)
    assert one["tv"] < 0.05
    uncorrected = replace(erring, read_truth=base.truth)
    assert report(uncorrected)["calibration"]["c"]["tv"] == pytest.approx(0.2, abs=0.04)


def test_what_is_shown_and_not_kept_is_inconsistent() -> None:
    base = readings()
    found = base.found.copy()
    found[0, :, 0] = (found[0, :, 0] + 1) % 3  # one seed of four gets it wrong
    wrong = replace(base, found=found)
    assert report(wrong)["consistency"]["a"]["share"] == pytest.approx(0.75)
    assert wrong.consistency.tolist() == [0.75] * N


def test_pairs_that_do_not_occur_are_not_open_in_records_that_have_them() -> None:
    base = readings()
    facts = [
        {
            "attributes": {a.name: a.classes[c] for a, c in zip(WORLD.attributes, row, strict=True)},
            "states": dict(zip("abc", ("determined", "open", "open"), strict=True)),
            "split": "unseen",
        }
        for row in base.truth.tolist()
    ]
    unseen = readings_of(WORLD, base.found, base.truth, facts)
    assert unseen is not None
    assert unseen.open.any(0).tolist() == [False, False, True]
    assert readings_of(WORLD, base.found, base.truth, [{"name": "x"}] * N) is None
    assert readings_of(WORLD, base.found[:, :0], base.truth[:0], []) is None


def test_the_pooled_difference_is_the_mean_of_those_of_the_records() -> None:
    base = readings(perfect=False)
    parts = excess(base)
    assert set(parts) == {"b", "c"}
    assert 0.5 * np.abs(parts["c"].mean(0)).sum() == pytest.approx(report(base)["calibration"]["c"]["tv"])
    mean = report(base)["calibration"]["mean"]
    assert mean["low"] <= mean["tv"] <= mean["high"]


def test_the_interval_of_a_perfect_sampler_begins_at_nothing() -> None:
    mean = report(readings())["calibration"]["mean"]
    assert mean["low"] == 0
    assert mean["high"] < 4 * mean["perfect"]


def test_two_methods_are_compared_on_the_same_records() -> None:
    good, bad = readings(), readings(perfect=False)
    apart = tv_difference(excess(bad), excess(good))
    means = [report(one)["calibration"]["mean"]["tv"] for one in (bad, good)]
    assert apart["mean"] == pytest.approx(means[0] - means[1])
    assert 0 < apart["low"] <= apart["mean"] <= apart["high"]
    same = tv_difference(excess(good), excess(good))
    assert same == {"mean": 0, "low": 0, "high": 0}


def test_a_difference_is_over_the_records_that_both_have() -> None:
    def single(one: Readings, first: int) -> dict[str, object]:
        parts = {name: part[first:].tolist() for name, part in excess(one).items()}
        return {"record": [str(i) for i in range(first, N)], "group": list(range(first, N)), "excess": parts}

    good, bad = readings(), readings(perfect=False)
    found = differences(single(bad, 0), single(good, 100))
    assert found["records"] == N - 100
    halves = [{name: part[100:] for name, part in excess(one).items()} for one in (bad, good)]
    assert found["tv"] == tv_difference(*halves)


def test_distances_and_variety_by_hand() -> None:
    assert total_variation(np.array([0.5, 0.5, 0]), np.array([0.5, 0.25, 0.25])) == 0.25
    assert variety(np.array([[0, 0], [0, 1], [1, 1]])) == pytest.approx(2 / 3)
    assert np.isnan(variety(np.array([[0, 1]])))


def test_the_embedded_faces_are_read_as_their_records_say() -> None:
    samples = Path(fcs.__file__).parent / "samples"
    truth = read_truth(resolve(f"{samples}/faces/*.tar"), Format(3, 64, 64, needs_mask=True))
    readings = read_attributes(truth.pictures[None], truth)
    assert readings is not None
    assert readings.truth.shape == (24, 10)
    assert (readings.read_truth == readings.truth).mean() > 0.99
    assert {"determined", "open", "part"} == set(readings.states.flatten().tolist())
    assert np.nanmin(readings.consistency) == 1
    emoji = read_truth(resolve(f"{samples}/emoji/seen.tar"), Format(3, 64, 64, needs_mask=True))
    assert read_attributes(emoji.pictures[None], emoji) is None
