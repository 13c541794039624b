"""The energy score: how sets of samples are judged against one truth each.

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
