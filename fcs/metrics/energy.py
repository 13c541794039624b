"""The energy score and the intervals around it: how sets of samples are judged against one truth each.

For one record with S samples x_s of a truth y, in features phi,
``ES = mean_s |phi(x_s) - phi(y)| - 1/2 mean_{s != s'} |phi(x_s) - phi(x_s')|``. It is proper (smallest for the true
conditional distribution), without bias in the number of records, and punishes blur and collapse alike (Gneiting and
Raftery 2007).
"""

from __future__ import annotations

import torch
from torch import Tensor


def energy_scores(samples: Tensor, truth: Tensor) -> Tensor:
    """The score of each record, ``(N,)``, smaller is better.

    Args:
        samples: features ``(S, N, F)``, S seeds a record.
        truth: features ``(N, F)``.

    Raises:
        ValueError: a single seed, for which the second term does not exist.
    """
    if len(samples) < 2:
        raise ValueError(f"{len(samples)} seed: expected 2 or more")
    samples, truth = samples.double(), truth.double()
    return (samples - truth).norm(dim=2).mean(0) - 0.5 * diversity(samples)


def diversity(samples: Tensor) -> Tensor:
    """Mean distance between two different samples of a record, ``(N,)``, of features ``(S, N, F)``."""
    count = len(samples)
    rows = samples.double().transpose(0, 1)
    # Not by matrix products: for samples that are nearly equal those lose all digits.
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.sum((1, 2)) / (count * (count - 1))


def bootstrap_interval(
    values: Tensor, groups: Tensor, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of values and its percentile interval, groups drawn with replacement.

    Args:
        values: ``(N,)``, one a record.
        groups: ``(N,)`` whole numbers; records of one group (a digit, a glyph) are drawn together.
        draws: bootstrap samples.
        level: of the interval, 0 to 1.
        seed: of the draws.

    Returns:
        (mean, low, high)
    """
    _, places = torch.unique(groups, return_inverse=True)
    count = int(places.max()) + 1
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, places, values.double())
    sizes = torch.zeros(count, dtype=torch.float64).index_add_(0, places, torch.ones_like(values).double())
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(count, (draws, count), generator=generator)
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    tail = (1 - level) / 2
    low, high = means.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return values.double().mean().item(), low, high
