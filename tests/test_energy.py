"""The energy score: proper, unbiased in the number of samples; the bootstrap covers what it should."""

from __future__ import annotations

import pytest
import torch

from fcs.core.intervals import bootstrap_interval
from fcs.metrics.energy import diversity, energy_scores


def draws(seeds: int, records: int, scale: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(seeds, records, 3, generator=generator, dtype=torch.float64)


def test_the_true_distribution_scores_best() -> None:
    truth = draws(1, 4000, 1.0, seed=1)[0]
    true, narrow, wide = (energy_scores(draws(4, 4000, scale), truth).mean() for scale in (1.0, 0.3, 2.0))
    collapsed = energy_scores(torch.zeros(4, 4000, 3), truth).mean()
    assert true < narrow < collapsed
    assert true < wide


def test_no_bias_in_the_number_of_samples() -> None:
    truth = draws(1, 20_000, 1.0, seed=1)[0]
    few, many = (energy_scores(draws(n, 20_000, 1.0), truth).mean() for n in (2, 16))
    assert few.item() == pytest.approx(many.item(), abs=0.03)


def test_closed_form_of_two_samples() -> None:
    samples = torch.tensor([[[0.0]], [[2.0]]])
    assert energy_scores(samples, torch.tensor([[3.0]])).item() == pytest.approx((3 + 1) / 2 - 2 / 2)
    assert diversity(samples).item() == pytest.approx(2)


def test_nearly_equal_samples_keep_their_distance() -> None:
    samples = 1e4 + torch.tensor([[[0.0]], [[1e-3]]], dtype=torch.float64)
    assert diversity(samples).item() == pytest.approx(1e-3, rel=1e-6)


def test_one_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 or more"):
        energy_scores(torch.zeros(1, 2, 3), torch.zeros(2, 3))


def test_interval_covers_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(200)
    hits = 0
    for _ in range(100):
        values = torch.randn(200, generator=generator) + 0.5
        mean, low, high = bootstrap_interval(values, groups, draws=400)
        assert low < mean < high
        hits += low <= 0.5 <= high
    assert 88 <= hits <= 99


def test_groups_are_drawn_together() -> None:
    values = torch.tensor([0.0, 1.0]).repeat_interleave(50)
    apart = bootstrap_interval(values, torch.arange(100))
    together = bootstrap_interval(values, torch.arange(2).repeat_interleave(50))
    assert together[2] - together[1] > 3 * (apart[2] - apart[1])
