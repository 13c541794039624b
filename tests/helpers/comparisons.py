"""What `fcs-bench compare` leaves, for tests of the recipes that read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MEAN = {"mean": {"tv": 0.2, "low": 0.1, "high": 0.3, "perfect": 0.05, "variety": 0.6, "expected": 0.7}}

KEPT = {"mean": {"share": 0.5, "floor": 0.996}}


def compared(
    folder: Path,
    method: str,
    consistency: list[float],
    setting: dict[str, float] | None = None,
    command: str = "compare",
    captions: bool = False,
    budget: int | None = 40,
    energy: list[float] | None = None,
) -> str:
    """What a comparison of one method leaves, as far as it is read."""
    figure = {"mean": sum(consistency) / len(consistency), "low": min(consistency), "high": max(consistency)}
    names = [str(i) for i in range(len(consistency))]
    single = {"record": names, "group": list(range(len(names))), "consistency": consistency}
    single |= {"excess": {"eyes": [[0.5, -0.5], [0.0, 0.0], *[[None, None]] * (len(names) - 2)]}}
    single |= {} if energy is None else {"energy_own": energy}
    evaluation: dict[str, Any] = {
        **{
            "command": command,
            "date": "d",
            "hardware": "h",
            "records": len(names),
            "seeds": [0, 1],
            "captions": captions,
        },
        **{"consistency": figure, "energy_own": figure, "energy_random": figure, "diversity_own": figure},
        **{"posterior": {"consistency": KEPT, "calibration": MEAN}, "single": single},
    }
    row = {"method": method, "budget": budget, "calls": 20, "backwards": 10, "levels": 10}
    name = f"{method}-{budget or 'published'}"
    (folder / name).mkdir(parents=True)
    text = json.dumps(evaluation).replace("null", "NaN")
    (folder / name / "evaluate.json").write_text(text)
    row |= {"seconds": 1.0, "setting": setting or {}, "note": ""}
    (folder / "compare.json").write_text(json.dumps({"rows": [row]}))
    return str(folder)
