"""Stage unpack: the training's folder again, from weights that were exported, so that a later stage can go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from diffusers import AutoencoderKL
from transformers import CLIPTextModel

from faces.classifier import FILE
from faces.kinds import KINDS

SCORES = "text tower on new captions"


def unpack(weights: Path, folder: Path) -> None:
    """Copies an export's parts to ``folder`` in float32, with each stage's report, so that none of them is run again.

    What only a training knows (its checkpoints, the losses on its way) is not there: a report holds its last losses.
    """
    card = json.loads((weights / "card.json").read_text())
    (kind,) = [kind for kind in KINDS.values() if kind.model == card["name"]]
    own = kind.architecture
    folder.mkdir(parents=True, exist_ok=True)
    AutoencoderKL.from_pretrained(weights / "vae").float().save_pretrained(folder / "vae")
    CLIPTextModel.from_pretrained(weights / "text_encoder").float().save_pretrained(folder / "text_encoder")
    own.network.from_pretrained(weights / own.part).float().save_pretrained(folder / kind.stage)
    shutil.copytree(weights / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    shutil.copy(weights / "classifier" / "model.safetensors", folder / FILE)
    (folder / "text.accuracy.json").write_text(json.dumps(card["scores"][SCORES], indent=1) + "\n")
    for stage, about in card["training"].items():
        (folder / f"{stage}.json").write_text(json.dumps(report(about)) + "\n")


def report(about: dict[str, object]) -> dict[str, object]:
    """A stage's report from what its card says."""
    options = {name: about[name] for name in ("start", "seed", "precision", "device", "ranks") if name in about}
    seconds = round(60 * float(str(about["minutes"])))
    return {"step": about["steps"], "seconds": seconds, "history": [about["last_losses"]], "options": options}
