"""Batches of pictures and labels from the arrays that ``faces.pool`` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faces.draws import Split
from faces.pool import read_pool


@dataclass
class Pool:
    """Pictures ``(n, 64, 64, 3)`` uint8, not copied to memory, and labels ``(n, attributes)``."""

    pictures: NDArray[np.uint8]
    labels: Tensor
    device: str = "cpu"

    @classmethod
    def read(cls, folder: Path, split: Split, device: str = "cpu") -> Pool:
        """What ``build_faces.py --pool`` wrote."""
        pictures, labels = read_pool(folder, split)
        return cls(pictures, torch.from_numpy(labels).long(), device)

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A random batch of pictures ``(count, 3, 64, 64)`` in [-1, 1] and labels."""
        return self.rows(torch.randint(len(self), (count,), generator=generator))

    def rows(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The pictures and labels of some rows; pictures lie in memory channels last."""
        x = torch.from_numpy(self.pictures[rows.numpy()]).to(self.device).float().div(127.5).sub(1)
        return x.permute(0, 3, 1, 2), self.labels[rows].to(self.device)
