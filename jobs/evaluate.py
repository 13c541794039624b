"""Run a config over several seeds and judge the results.

    python jobs/evaluate.py --model digits-16 --seeds 0,1,2,3 --out runs/evaluate
    python jobs/evaluate.py --model digits-16 --seeds 0,1,2,3 --out runs/replacement sampler=replacement

Writes OUT/seed-N (a run each, continued if it is there) and OUT/evaluate.json: the energy score over the seeds in the
model's own features and in those of a random network, truth retrieval, diversity, residual, PSNR and SSIM of one seed
and of the mean of all, each with the 95 % bootstrap interval over records; cost in denoiser calls. Everything after
the options is an override of the config, as for fcs-predict.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import sys
import time
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
from fcs.metrics.energy import bootstrap_interval, diversity, energy_scores
from fcs.metrics.features import DigitsClassifier, RandomFeatures
from fcs.metrics.pictures import scores
from fcs.models import find, load
from fcs.pictures import to_float
from fcs.plan import record_format
from fcs.records import Record
from fcs.shards.decode import Format
from fcs.shards.reader import ShardReader
from fcs.shards.sources import Source, resolve

CONFIGS = {"digits-16": "digits_half", "digits-16-flow": "digits_half"}


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


def read_results(out: Path, truth: Truth) -> Tensor:
    """The written pictures of a run, uint8 ``(N, C, H, W)``, in the order of the truth."""
    pictures = torch.zeros_like(truth.pictures)
    for stem in dict.fromkeys(stem for stem, _ in truth.places):
        for sample in wds.WebDataset(str(out / "shards" / f"{stem}.tar"), shardshuffle=False):
            pil = Image.open(io.BytesIO(sample["png"]))
            array = torch.from_numpy(np.array(pil)).reshape(pil.height, pil.width, -1)
            pictures[truth.places[stem, sample["__key__"]]] = array.permute(2, 0, 1)
    return pictures


def read_columns(out: Path) -> dict[str, float]:
    """Means of a run's rows that need no picture."""
    rows = pq.read_table(sorted((out / "metrics").rglob("*.parquet")))
    return {name: float(np.mean(rows[name].drop_null().to_numpy())) for name in ("residual", "nfe", "seconds")}


def interval(values: Tensor) -> dict[str, float]:
    """Mean and bootstrap interval over records."""
    mean, low, high = bootstrap_interval(values, torch.arange(len(values)))
    return {"mean": mean, "low": low, "high": high}


def judge(samples: Tensor, truth: Truth) -> dict[str, Any]:
    """All figures for uint8 samples ``(S, N, C, H, W)``."""
    figures: dict[str, Any] = {}
    for name, features in extractors(truth.pictures):
        phi = torch.stack([features(to_float(one)) for one in samples])
        figures[f"energy_{name}"] = interval(energy_scores(phi, features(to_float(truth.pictures))))
        figures[f"diversity_{name}"] = interval(diversity(phi))
    if all("class" in fact for fact in truth.facts):
        figures |= retrieval(samples, truth)
    mean = samples.float().mean(0).round().byte()
    for label, pictures in (("one_seed", samples[0]), ("mean_of_seeds", mean)):
        rows = scores(pictures, truth.pictures, truth.masks)
        for name in rows[0]:
            values = [value for row in rows if (value := row[name]) is not None]
            figures[f"{name}_{label}"] = interval(torch.tensor(values)) if values else None
    return figures


def retrieval(samples: Tensor, truth: Truth) -> dict[str, Any]:
    """How often the classifier finds the true class in the results, and in the truth itself."""
    classes = torch.tensor([fact["class"] for fact in truth.facts])
    classifier = DigitsClassifier.load()
    right = torch.stack([classifier(to_float(one)).argmax(1) == classes for one in samples])
    found = classifier(to_float(truth.pictures)).argmax(1) == classes
    return {"retrieval": interval(right.float().mean(0)), "retrieval_of_truth": found.float().mean().item()}


def extractors(truth: Tensor) -> list[tuple[str, Any]]:
    """The model's own features where there are some, and a random network's as a check."""
    channels, side = truth.shape[1], truth.shape[2]
    found: list[tuple[str, Any]] = [("random", RandomFeatures(channels).features)]
    if (channels, side) == (1, 16):
        found.insert(0, ("classifier", DigitsClassifier.load().features))
    return found


def main() -> int:
    """Run, read, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="model.name of the runs")
    parser.add_argument("--config", help="config to run (the model's own half-picture inpainting)")
    parser.add_argument("--seeds", default="0,1,2,3", help="seeds, comma separated (0,1,2,3)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and evaluate.json")
    args, overrides = parser.parse_known_args()
    name = args.config or CONFIGS.get(args.model)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    if name is None or len(seeds) < 2:
        parser.error("expected --config for a model without one of its own, and two seeds or more")
    common = [f"model.name={args.model}", *overrides]
    for seed in seeds:
        code = fcs_predict(["--config", name, *common, f"seed={seed}", f"out={args.out}/seed-{seed}"])
        if code not in (0, 3):
            return code
    report = evaluate(name, common, seeds, args.out)
    print(json.dumps(report, indent=1))
    return 0


@torch.no_grad()
def evaluate(name: str, overrides: list[str], seeds: list[int], out: Path) -> dict[str, Any]:
    """Judge the finished runs below ``out`` and write ``evaluate.json``."""
    run, settings = config.load([name], overrides)
    sources = resolve(run.data.shards)
    truth = read_truth(sources, record_format(run, load(find(run.model.name, run.model.revision))))
    samples = torch.stack([read_results(out / f"seed-{seed}", truth) for seed in seeds])
    report = {
        "command": "python jobs/evaluate.py " + " ".join(sys.argv[1:]),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "model": run.model.name,
        "config": {key: settings[key] for key in ("task", "sampler", "steps", "levels", "guidance")},
        "records": len(truth.pictures),
        "seeds": seeds,
        **read_columns(out / f"seed-{seeds[0]}"),
        **judge(samples, truth),
    }
    (out / "evaluate.json").write_text(json.dumps(report, indent=1) + "\n")
    return report


if __name__ == "__main__":
    sys.exit(main())
