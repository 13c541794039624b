"""Stage export: the folder that ships, a pipeline of diffusers, its classifier, and a card of measured figures."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from itertools import product
from pathlib import Path

import torch
from emoji.export import card_text, parameters, tidy, training_of

from faces.attributes import ACCESSORY, ATTRIBUTES, HAIR, HELD_OUT, world
from faces.classifier import FILE
from faces.kinds import Kind
from faces.nearest import nearest_through
from faces.pictures import Pool
from faces.sampling import load_pipeline, obeyed
from faces.vae import through
from fcs.metrics.attributes import DESCRIPTION, read_folder
from fcs.models.from_memory import from_memory

STAGES = ("classifier", "vae", "text")  # that come before the denoiser
SUMMARY = "A small latent text-to-image model of cartoon faces, in {} format, with a judge of attributes."
SHOWN = 1000  # pictures that the classifier reads, clean and through the VAE
RENDERED = 40  # pictures through the VAE that are compared with renders of all classes


def export(kind: Kind, seen: Pool, folder: Path, weights: Path, seed: int, sampled: int, note: str = "") -> None:
    """Writes the trained parts to ``weights`` in fp16 and scores what was written, in float32, on new draws.

    All of it is made beside and renamed, so ``weights`` is never half a model. ``note`` goes to the card.
    """
    part = weights.with_name(weights.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    load_pipeline(kind, folder).to(torch.float16).save_pretrained(part, max_shard_size="8MB")
    for words, name in product(part.glob("tokenizer*"), ("vocab.json", "merges.txt")):
        shutil.copy(folder / "tokenizer" / name, words / name)
    (part / "classifier").mkdir()
    shutil.copy(folder / FILE, part / "classifier" / "model.safetensors")
    (part / "classifier" / DESCRIPTION).write_text(world().as_json())
    tidy(part, [path.name for path in part.glob("text_encoder*")])
    card = {**make_card(kind, part, folder, seen, seed, sampled), "note": note}
    (part / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    (part / "card.md").write_text(card_text(card, SUMMARY.format(kind.architecture.layout)))
    shutil.rmtree(weights, ignore_errors=True)
    part.rename(weights)


def make_card(kind: Kind, part: Path, folder: Path, seen: Pool, seed: int, sampled: int) -> dict[str, object]:
    """What the model is, how it was trained, and what was measured on the weights in ``part``."""
    classifier = read_folder(part / "classifier")[0]
    architecture = kind.architecture
    pipeline = load_pipeline(kind, part, architecture.part)
    vae = pipeline.vae
    read = through(vae, classifier, seen, SHOWN)
    drawn, _ = obeyed(kind, from_memory(pipeline).eval(), classifier, seen, seed, sampled)
    training = {stage: training_of(folder / f"{stage}.json") for stage in (*STAGES, *kind.after, kind.stage)}
    parts = {name: getattr(pipeline, name) for name in (architecture.part, "vae", "text_encoder")}
    pairs = [f"{_class(HAIR, hair)} + {_class(ACCESSORY, own)}" for hair, own in sorted(HELD_OUT)]
    return {
        "name": kind.model,
        "format": f"{architecture.layout} folder: 64 px, factor 4, {vae.config.latent_channels} latent channels, "
        f"predicts {kind.predicts}; classifier/ reads the attributes of a picture",
        "licence": "Apache-2.0; the faces are composed of parts of python-avatars (MIT), Avataaars by Pablo Stanley",
        "data": {
            "classes": {a.name: ", ".join(c.name for c in a.choices) for a in ATTRIBUTES},
            "held_out_pairs": ", ".join(pairs),
        },
        "parameters": {name: parameters(module) for name, module in {**parts, "classifier": classifier}.items()},
        "training": training,
        "hardware": f"{platform.machine()} CPU, {os.cpu_count()} cores, shared with other work",
        "software": {"torch": torch.__version__},
        "date": time.strftime("%Y-%m-%d"),
        "commands": command(training),
        "scores": {
            "text tower on new captions": json.loads((folder / "text.accuracy.json").read_text()),
            f"classifier on {SHOWN} clean renders": read["clean"],
            "the same through the VAE": read["vae"],
            "ratio": read["ratio"],
            f"nearest render through the VAE, of {RENDERED}": nearest_through(vae, "seen", 0, RENDERED),
            "psnr_db": read["psnr"]["mean"],
            f"obeyed in {sampled} samples with all attributes in the caption": drawn,
        },
    }


def command(training: dict[str, dict[str, object]]) -> str:
    """The commands that train such a model."""
    stages = [
        f"python jobs/train_faces.py --stage {stage} --steps {about['steps']} --out runs/faces/model{start_of(about)}"
        for stage, about in training.items()
    ]
    draws = "python jobs/build_faces.py --pool --out runs/faces/data"
    return " && ".join([f"{draws} --records 21000", f"{draws} --records 4000 --split seen", *stages])


def start_of(about: dict[str, object]) -> str:
    """The option that names the weights a stage went on from, if any."""
    return f" --start {about['start']}" if about.get("start") else ""


def _class(attribute: int, label: int) -> str:
    return ATTRIBUTES[attribute].choices[label].name
