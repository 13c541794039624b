"""What jobs/native_sizes.py draws and measures, and what its figures say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from sizes.costs import apart
from sizes.photos import write_folder

from fcs.core.pictures import open_picture, upright

FIGURES = json.loads((Path(__file__).parents[1] / "docs" / "figures" / "native_sizes.json").read_text())


def test_photographs_have_masks_of_their_upright_size(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", 8, np.random.default_rng(0))
    files = [path for path in sorted((tmp_path / "in").iterdir()) if ".mask" not in path.name]
    assert len(files) == 8
    stored = []
    for path in files:
        with Image.open(path) as picture:
            stored.append(picture.size)
        mask = np.array(Image.open(path.with_suffix("").with_suffix(".mask.png")))
        assert mask.shape == upright(open_picture(path.read_bytes())).size[::-1]
        assert set(np.unique(mask)) <= {0, 255}
    assert len(set(stored)) == 8
    assert upright(open_picture(files[3].read_bytes())).size == stored[3][::-1]


def test_what_a_process_of_its_own_uses_is_told() -> None:
    def work() -> None:
        block = np.ones(80_000_000, np.uint8)  # more than malloc keeps of what was freed before
        for _ in range(20):
            block += 1

    found = apart(work)
    assert 70 < found["memory_mb"] < 200
    assert found["cpu_seconds"] > 0


def test_the_figures_say_what_the_page_says() -> None:
    photographs, costs = FIGURES["photographs"], FIGURES["costs"]
    assert photographs["records_equal_outside_their_holes"] == photographs["records"] == 40
    assert photographs["seam"] <= photographs["seam_at_the_models_size"]
    for one in costs:
        # What is beyond decoding and encoding does not grow with the picture's area.
        assert one["memory_mb"] - one["memory_mb_of_decoding_and_encoding"] < 64, one
