"""Puts what the comparison of methods found into emoji-64's card.

    python jobs/card_emoji.py --figures docs/figures/emoji.json

Takes the evaluations that fcs-bench ablate made and adds, to card.json and card.md, their scores with intervals.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from emoji.export import SUMMARY, card_text

KEPT = ("energy_own", "energy_random", "retrieval")


def summary(evaluation: dict[str, Any]) -> dict[str, object]:
    """Cost, and the figures that methods are judged by, each as "mean (low to high)"."""
    told = {name: evaluation[name] for name in KEPT}
    texts = {name: f"{d['mean']:.3f} ({d['low']:.3f} to {d['high']:.3f})" for name, d in told.items()}
    return {"calls": evaluation["nfe"], "records": evaluation["records"], **texts}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, default=Path("docs/figures/emoji.json"), help="(%(default)s)")
    parser.add_argument("--weights", type=Path, default=Path("fcs/weights/emoji-64"), help="(%(default)s)")
    args = parser.parse_args()
    figures = json.loads(args.figures.read_text())
    card = json.loads((args.weights / "card.json").read_text())
    card["evaluation"] = {name: summary(value) for name, value in figures.items() if "nfe" in value}
    (args.weights / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    (args.weights / "card.md").write_text(card_text(card, SUMMARY))


if __name__ == "__main__":
    main()
