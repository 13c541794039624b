"""Run a config over several seeds and judge the results.

    python jobs/evaluate.py --model digits-16 --seeds 0,1,2,3 --out runs/evaluate
    python jobs/evaluate.py --model digits-16 --seeds 0,1,2,3 --out runs/replacement sampler=replacement

Writes OUT/seed-N (a run each, continued if it is there) and OUT/evaluate.json: the energy score over the seeds in the
model's own features and in those of a random network, truth retrieval, diversity, residual, PSNR and SSIM of one seed
and of the mean of all, each with the 95 % bootstrap interval over digits or glyphs; cost in denoiser calls. With
--versus DIR also the paired differences to the evaluation in DIR. Everything after the options is an override of the
config, as for fcs-predict. Prompts are empty unless --captions is given.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import platform
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import webdataset as wds
from PIL import Image
from torch import Tensor

from fcs import config
from fcs.cli.predict import main as fcs_predict
from fcs.clip import ImageTower
from fcs.metrics.energy import bootstrap_interval, diversity, energy_scores
from fcs.metrics.features import WEIGHTS, DigitsClassifier, RandomFeatures
from fcs.metrics.pictures import scores
from fcs.models import find, load
from fcs.pictures import to_float
from fcs.plan import record_format
from fcs.records import Record
from fcs.shards.decode import Format
from fcs.shards.reader import ShardReader
from fcs.shards.sources import Source, resolve

CONFIGS = {"digits-16": "digits_half", "digits-16-flow": "digits_half"}
CLIP = WEIGHTS / "emoji-64" / "clip"
FILE = "evaluate.json"
PAIRED = ("energy_own", "energy_random", "retrieval")  # figures that are kept for each record


@dataclass(frozen=True)
class Truth:
    """What results are held against.

    Attributes:
        places: where each (shard, key) stands in the tensors.
        pictures: uint8 ``(N, C, H, W)``.
        masks: uint8 ``(N, 1, H, W)``, white where a record has none.
        facts: each record's own JSON.
    """

    places: dict[tuple[str, str], int]
    pictures: Tensor
    masks: Tensor
    facts: list[dict[str, Any]]

    @property
    def groups(self) -> Tensor:
        """Which records the bootstrap draws together, ``(N,)``: renderings of one glyph, else each for itself."""
        names = [fact.get("name", f"{stem}/{key}") for (stem, key), fact in zip(self.places, self.facts, strict=True)]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return torch.tensor([numbers[name] for name in names])

    def only(self, kept: Tensor) -> Truth:
        """The records where ``kept`` ``(N,)`` is true."""
        chosen = kept.nonzero()[:, 0].tolist()
        names = list(self.places)
        places = {names[old]: new for new, old in enumerate(chosen)}
        return Truth(places, self.pictures[kept], self.masks[kept], [self.facts[old] for old in chosen])


def read_truth(sources: list[Source], form: Format) -> Truth:
    """All whole records of the input shards."""
    records: dict[tuple[str, str], Record] = {}
    for source in sources:
        with ShardReader(source, form) as reader:
            for record in map(reader.record, range(len(reader))):
                if record.error is None and record.key is not None:
                    records[source.stem, record.key] = record
    white = torch.full((1, form.height, form.width), 255, dtype=torch.uint8)
    return Truth(
        {name: place for place, name in enumerate(records)},
        torch.stack([record.image for record in records.values() if record.image is not None]),
        torch.stack([white if record.mask is None else record.mask for record in records.values()]),
        [record.extra for record in records.values()],
    )


def read_results(out: Path, truth: Truth) -> tuple[Tensor, Tensor]:
    """A run's pictures, uint8 ``(N, C, H, W)`` in the order of the truth, and which records have one, ``(N,)``."""
    pictures, found = torch.zeros_like(truth.pictures), torch.zeros(len(truth.pictures), dtype=torch.bool)
    for path in sorted((out / "shards").rglob("*.tar")):
        stem = path.relative_to(out / "shards").with_suffix("").as_posix()
        for sample in wds.WebDataset(str(path), shardshuffle=False):
            pil = Image.open(io.BytesIO(sample["png"]))
            array = torch.from_numpy(np.array(pil)).reshape(pil.height, pil.width, -1)
            place = truth.places[stem, sample["__key__"]]
            pictures[place], found[place] = array.permute(2, 0, 1), True
    return pictures, found


def read_columns(out: Path) -> dict[str, float]:
    """Means of a run's rows that need no picture."""
    rows = pq.read_table(sorted((out / "metrics").rglob("*.parquet")))
    return {name: float(np.mean(rows[name].drop_null().to_numpy())) for name in ("residual", "nfe", "seconds")}


def interval(values: Tensor, groups: Tensor) -> dict[str, float]:
    """Mean and bootstrap interval over groups."""
    mean, low, high = bootstrap_interval(values, groups)
    return {"mean": mean, "low": low, "high": high}


def judge(samples: Tensor, truth: Truth) -> dict[str, Tensor]:
    """Figures of each record, ``(N,)``, for uint8 samples ``(S, N, C, H, W)``; NaN where one does not exist."""
    figures: dict[str, Tensor] = {}
    for name, features in extractors(truth.pictures):
        phi = torch.stack([features(to_float(one)) for one in samples])
        figures[f"energy_{name}"] = energy_scores(phi, features(to_float(truth.pictures)))
        figures[f"diversity_{name}"] = diversity(phi)
    figures["retrieval"] = retrieval(samples, truth)
    mean = samples.float().mean(0).round().byte()
    for label, pictures in (("one_seed", samples[0]), ("mean_of_seeds", mean)):
        rows = scores(pictures, truth.pictures, truth.masks)
        for name in rows[0]:
            figures[f"{name}_{label}"] = torch.tensor([math.nan if row[name] is None else row[name] for row in rows])
    return figures


def retrieval(samples: Tensor, truth: Truth) -> Tensor:
    """How often each record's results point to its truth, ``(N,)`` in 0 to 1.

    Digits: the classifier finds the true class. Others: of all truths, its own is the nearest in the own features.
    """
    if all("class" in fact for fact in truth.facts):
        classes = torch.tensor([fact["class"] for fact in truth.facts])
        classifier = DigitsClassifier.load()
        right = torch.stack([classifier(to_float(one)).argmax(1) == classes for one in samples])
        return right.double().mean(0)
    features = extractors(truth.pictures)[0][1]
    candidates = features(to_float(truth.pictures))
    nearest = torch.stack([torch.cdist(features(to_float(one)), candidates).argmin(1) for one in samples])
    return (nearest == torch.arange(len(candidates))).double().mean(0)


def extractors(truth: Tensor) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
    """The model's own features where there are some, and a random network's as a check."""
    channels, side = truth.shape[1], truth.shape[2]
    found = [("random", RandomFeatures(channels).features)]
    if (channels, side) == (1, 16):
        found.insert(0, ("own", DigitsClassifier.load().features))
    elif channels == 3 and (CLIP / "config.json").exists():
        found.insert(0, ("own", ImageTower(CLIP).embed))
    return found


def prompted(source: Source) -> bool:
    """Whether a shard holds prompts."""
    with tarfile.open(source.url) as tar:
        return any(name.endswith(".txt") for name in tar.getnames())


def without_captions(sources: list[Source], folder: Path) -> list[str]:
    """The shards without their prompts: copies below ``folder`` of those that hold some."""
    return [str(bare_copy(source, folder)) if prompted(source) else source.url for source in sources]


def bare_copy(source: Source, folder: Path) -> Path:
    """A copy of a shard without its prompts, made once."""
    copy = folder / f"{source.stem}.tar"
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        partial = copy.with_suffix(".partial")
        with tarfile.open(source.url) as given, tarfile.open(partial, "w") as bare:
            for member in given:
                if member.isfile() and not member.name.endswith(".txt"):
                    bare.addfile(member, given.extractfile(member))
        partial.rename(copy)
    return copy


def main() -> int:
    """Run, read, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="model.name of the runs")
    parser.add_argument("--config", help="config to run (the model's own half-picture inpainting)")
    parser.add_argument("--seeds", default="0,1,2,3", help="seeds, comma separated (0,1,2,3)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and evaluate.json")
    parser.add_argument("--captions", action="store_true", help="give the records' prompts to the model")
    parser.add_argument("--versus", type=Path, help="folder of another evaluation, for paired differences")
    args, overrides = parser.parse_known_args()
    name = args.config or CONFIGS.get(args.model)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    if name is None or len(seeds) < 2:
        parser.error("expected --config for a model without one of its own, and two seeds or more")
    common = [f"model.name={args.model}", *overrides]
    run, _ = config.load([name], common)
    if not args.captions:
        shards = without_captions(resolve(run.data.shards), args.out / "inputs")
        common.append(f"data.shards={json.dumps(shards)}")
    for seed in seeds:
        code = fcs_predict(["--config", name, *common, f"seed={seed}", f"out={args.out}/seed-{seed}"])
        if code not in (0, 3):
            return code
    print(json.dumps(evaluate(name, common, seeds, args.out, args.versus), indent=1))
    return 0


@torch.no_grad()
def evaluate(name: str, overrides: list[str], seeds: list[int], out: Path, versus: Path | None) -> dict[str, Any]:
    """Judge the finished runs below ``out`` and write ``evaluate.json``; returns it without the single records."""
    run, settings = config.load([name], overrides)
    truth = read_truth(resolve(run.data.shards), record_format(run, load(find(run.model.name, run.model.revision))))
    results = [read_results(out / f"seed-{seed}", truth) for seed in seeds]
    kept = torch.stack([found for _, found in results]).all(0)
    truth = truth.only(kept)
    figures = judge(torch.stack([pictures[kept] for pictures, _ in results]), truth)
    groups = truth.groups
    report: dict[str, Any] = {
        "command": "python jobs/evaluate.py " + " ".join(sys.argv[1:]),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "model": run.model.name,
        "config": {key: settings[key] for key in ("task", "sampler", "steps", "levels", "guidance")},
        "records": len(truth.pictures),
        "seeds": seeds,
        **read_columns(out / f"seed-{seeds[0]}"),
    }
    for figure, values in figures.items():
        there = ~values.isnan()
        report[figure] = interval(values[there], groups[there]) if there.any() else None
    if versus is not None:
        report["versus"] = {"of": str(versus), **differences(figures, json.loads((versus / FILE).read_text()), truth)}
    names = ["/".join(name) for name in truth.places]
    single = {"record": names, **{figure: figures[figure].tolist() for figure in PAIRED if figure in figures}}
    (out / FILE).write_text(json.dumps({**report, "single": single}, indent=1) + "\n")
    return report


def differences(figures: dict[str, Tensor], other: dict[str, Any], truth: Truth) -> dict[str, Any]:
    """Mean and interval of this evaluation minus the other, over the records that both have."""
    places = {name: place for place, name in enumerate(other["single"]["record"])}
    names = ["/".join(name) for name in truth.places]
    here = [place for place, name in enumerate(names) if name in places]
    there = [places[names[place]] for place in here]
    found: dict[str, Any] = {"records": len(here)}
    for figure in PAIRED:
        if figure in figures and figure in other["single"]:
            values = torch.tensor(other["single"][figure], dtype=torch.float64)
            found[figure] = interval(figures[figure][here] - values[there], truth.groups[here])
    return found


if __name__ == "__main__":
    sys.exit(main())
