"""Contact sheets of a config: what is given, made and true."""

from __future__ import annotations

from pathlib import Path

import torch
from contact_sheets import columns, sheet


def test_a_sheet_shows_given_made_and_true(tmp_path: Path) -> None:
    rows = columns("digits_inpaint", ["steps=1", f"out={tmp_path}/o"], count=3, seed=0)
    assert [tuple(shown.shape) for shown in rows] == [(3, 3, 16, 16)] * 3
    assert sheet(rows, 32).size == (3 * 36 + 4, 3 * 36 + 4)
    assert not (tmp_path / "o").exists()
    given, made, true = rows
    assert not torch.equal(given, true)
    assert not torch.equal(made, true)
