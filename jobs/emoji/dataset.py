"""What build_emoji.py leaves on disk and train_emoji.py reads: bitmaps, and glyphs with their split."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emoji.render import Renderer


@dataclass(frozen=True)
class Entry:
    """A glyph in the data: `distance` is to its nearest training glyph, 0 for training glyphs themselves."""

    key: str
    prompt: str
    codepoints: tuple[int, ...]
    mirrors: bool
    cluster: int
    split: str
    distance: float


@dataclass(frozen=True)
class Dataset:
    """All glyphs: entry i has bitmap i of (n, 136, 136, 4); `font` is the version of the font."""

    entries: list[Entry]
    bitmaps: NDArray[np.uint8]
    font: str

    def indices(self, split: str) -> torch.Tensor:
        """The glyphs of a split, `train` or `held-out`."""
        return torch.tensor([i for i, entry in enumerate(self.entries) if entry.split == split])

    def renderer(self, device: str = "cpu") -> Renderer:
        """A renderer of these glyphs."""
        bitmaps = torch.from_numpy(self.bitmaps).permute(0, 3, 1, 2).contiguous()
        return Renderer(bitmaps, torch.tensor([entry.mirrors for entry in self.entries])).to(device)

    def summary(self) -> dict[str, object]:
        """Counts of glyphs and clusters, and how far held-out glyphs are from training."""
        out = [entry for entry in self.entries if entry.split == "held-out"]
        gaps = np.array([entry.distance for entry in out])
        quantiles = {"min": 0, "p10": 10, "median": 50, "p90": 90}
        return {
            "glyphs": len(self.entries),
            "clusters": len({entry.cluster for entry in self.entries}),
            "held_out_glyphs": len(out),
            "held_out_clusters": len({entry.cluster for entry in out}),
            "distance_to_nearest_training_glyph": {
                name: round(float(np.percentile(gaps, share)), 3) for name, share in quantiles.items()
            },
        }

    def save(self, folder: Path) -> None:
        """Writes `glyphs.json` and `bitmaps.npz`."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = [asdict(entry) for entry in self.entries]
        (folder / "glyphs.json").write_text(json.dumps({"font": self.font, "glyphs": rows}, indent=0) + "\n")
        np.savez_compressed(folder / "bitmaps.npz", bitmaps=self.bitmaps)

    @classmethod
    def load(cls, folder: Path) -> Dataset:
        """Reads what `save` wrote."""
        saved = json.loads((folder / "glyphs.json").read_text())
        entries = [Entry(**{**row, "codepoints": tuple(row["codepoints"])}) for row in saved["glyphs"]]
        return cls(entries, np.load(folder / "bitmaps.npz")["bitmaps"], saved["font"])
