"""JPEG at quality 10 and palettes of eight colours on the embedded models: results against the input and plain filters.

    python jobs/cells.py --out docs/figures/cells.json
    python jobs/cells.py --out runs/cells.json --records 8 --models faces-64

Each row is the mean over records: the PSNR against the truth, and the consistency, the share of the coefficients or
pixels that fall where the measurement says. `input` is the measured picture as it is; `gaussian`, `median` and `tv`
(total variation) smooth it, each at the strength that has the best PSNR on these very records. `fcs` is one result a
record, without paste-back and with it; of palettes also without pulling each colour's mean to the colour (`means=0`),
and `truth, encoded` is what the autoencoder alone leaves of the truth. `attributes` is the share of a face's ten that a
classifier reads as they are drawn. For JPEG, `same_again` is the share of quantized coefficients that Pillow's own
files of picture and result have in common.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command import command
from PIL import Image
from scipy.ndimage import gaussian_filter, median_filter
from torch import Tensor

import fcs
from fcs.bench.figures import FACES_CLASSIFIER
from fcs.bench.origin import origin, write_json
from fcs.bench.truth import read_records
from fcs.core.images import to_float, to_pil, to_uint8
from fcs.core.operators import Cells, Jpeg, Quantize
from fcs.core.package_files import PACKAGE
from fcs.metrics.attributes import read_folder
from fcs.samplers import ProjectedNewton
from fcs.shards.input.decode import Format
from fcs.shards.input.sources import resolve
from fcs.tasks import Restore
from fcs.tools.cli.ends import Parser

MODELS = {
    "faces-64": ("faces/half.tar", "faces/box.tar", "faces/freeform.tar"),
    "emoji-64": ("emoji/unseen.tar",),
}
OPERATORS: dict[str, Cells] = {"jpeg, quality 10": Jpeg(10), "palette of 8": Quantize(8)}
SIZE = 64  # of the models' pictures
STEPS = 20
FILTERS: dict[str, tuple[Callable[[Tensor, float], Tensor], list[float]]] = {
    "gaussian": (lambda y, width: filtered(y, gaussian_filter, (0, 0, width, width)), [0.3, 0.5, 0.7, 0.9, 1.2]),
    "median": (lambda y, width: filtered(y, median_filter, (1, 1, int(width), int(width))), [2, 3, 4]),
    "tv": (lambda y, weight: total_variation(y, weight), [0.03, 0.06, 0.12, 0.2, 0.3]),
}


@dataclass(frozen=True)
class Case:
    """What results are compared with.

    Attributes:
        operator: of the measurement.
        truth, given: pictures ``(N, 3, H, W)``, uint8, and what was measured of them.
        attributes: of the pictures; empty where they have none.
    """

    operator: Cells
    truth: Tensor
    given: Tensor
    attributes: list[dict[str, str]]


def records(names: tuple[str, ...], count: int) -> tuple[Tensor, list[str], list[dict[str, str]]]:
    """Pictures ``(N, 3, H, W)`` uint8 of shipped shards, their prompts, and their attributes where they have some."""
    shards = (resolve(str(PACKAGE / "samples" / name)) for name in names)
    read = [record for shard in shards for record in read_records(shard, Format(3, SIZE, SIZE)).values()][:count]
    pictures = torch.stack([record.image for record in read if record.image is not None])
    return pictures, [record.prompt or "" for record in read], [record.extra.get("attributes", {}) for record in read]


def filtered(y: Tensor, by: Callable[..., np.ndarray], size: tuple[float, ...]) -> Tensor:
    """Pictures after one of scipy's filters; borders are reflected."""
    return torch.from_numpy(by(y.numpy(), size))


def total_variation(y: Tensor, weight: float, iterations: int = 100) -> Tensor:
    """``argmin_x |x - y|^2 / 2 + weight TV(x)``, colours together (Chambolle 2004)."""
    p = torch.zeros(2, *y.shape)
    for _ in range(iterations):
        step = torch.stack(gradient(divergence(p) - y / weight))
        length = step.square().sum((0, 2), keepdim=True).sqrt()
        p = (p + 0.2 * step) / (1 + 0.2 * length)
    return y - weight * divergence(p)


def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences, 0 at the far border."""
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[..., :-1, :] = x[..., 1:, :] - x[..., :-1, :]
    right[..., :-1] = x[..., 1:] - x[..., :-1]
    return down, right


def divergence(p: Tensor) -> Tensor:
    """Minus the transpose of ``gradient``."""
    down, right = p.clone()
    down[..., -1, :] = 0
    right[..., -1] = 0
    down[..., 1:, :] -= p[0][..., :-1, :]
    right[..., 1:] -= p[1][..., :-1]
    return down + right


def psnr(made: Tensor, truth: Tensor) -> float:
    """Mean over pictures, uint8, dB."""
    error = (made.float() - truth.float()).square().flatten(1).mean(1).clamp(min=1e-3)
    return round((10 * torch.log10(255**2 / error)).mean().item(), 2)


def row(name: str, made: Tensor, case: Case) -> dict[str, Any]:
    """Scores of pictures, uint8."""
    share = case.operator.cell(to_float(case.given)).share_inside(to_float(made))
    found = {"what": name, "psnr": psnr(made, case.truth), "consistency": round(share.mean().item(), 4)}
    if all(case.attributes):
        classifier, world = read_folder(FACES_CLASSIFIER)
        right = classifier.predict(to_float(made)) == torch.tensor([world.labels(one) for one in case.attributes])
        found["attributes"] = round(right.float().mean().item(), 4)
    if isinstance(case.operator, Jpeg):
        found["same_again"] = same_again(made, case.given, case.operator)
    return found


def same_again(made: Tensor, given: Tensor, operator: Jpeg) -> float:
    """Share of quantized coefficients that Pillow's files of the results have in common with the given ones."""
    shares = []
    for picture, before in zip(made, given, strict=True):
        buffer = io.BytesIO()
        to_pil(picture).save(buffer, "jpeg", quality=operator.quality, subsampling=operator.chroma)
        again = torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)
        pairs = zip(*(operator.counts(to_float(one[None])) for one in (again, before)), strict=True)
        shares.append(torch.cat([(a == b).flatten() for a, b in pairs]).float().mean())
    return round(torch.stack(shares).mean().item(), 4)


def pillow_files(truth: Tensor, operator: Jpeg) -> Tensor:
    """The pictures as Pillow's own JPEG files show them."""
    shown = []
    for picture in truth:
        buffer = io.BytesIO()
        to_pil(picture).save(buffer, "jpeg", quality=operator.quality, subsampling=operator.chroma)
        shown.append(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1))
    return torch.stack(shown)


def rows(model: str, operator: Cells, count: int) -> list[dict[str, Any]]:
    """All rows for one model and one measurement."""
    truth, prompts, attributes = records(MODELS[model], count)
    given = pillow_files(truth, operator) if isinstance(operator, Jpeg) else to_uint8(operator.A(to_float(truth)))
    case = Case(operator, truth, given, attributes)
    loaded = fcs.load(model)
    found = [row("input", given, case)]
    for name, (smooth, strengths) in FILTERS.items():
        tried = [(to_uint8(smooth(to_float(given), strength)), strength) for strength in strengths]
        best, strength = max(tried, key=lambda one: psnr(one[0], truth))
        found.append({**row(name, best, case), "strength": strength})
    with torch.no_grad():
        found.append(row("truth, encoded", to_uint8(loaded.decode(loaded.encode(to_float(truth)))), case))
    ours: dict[str, Cells] = {"fcs": operator}
    if isinstance(operator, Quantize):
        ours["fcs, means=0"] = Quantize(operator.colours, means=0)
    for name, own in ours.items():
        task, sampler = Restore(own, error="vae_newton"), ProjectedNewton(moves=[0])
        options = {"prompt": prompts, "sampler": sampler, "steps": STEPS, "batch_size": 12, "output_type": "pt"}
        result = fcs.apply(loaded, task, list(given), **options)
        raw = 2 * result.images - 1
        pasted = operator.cell(to_float(given)).within_range(raw)
        for label, made in {name: raw, f"{name}, pasted": pasted}.items():
            found.append({**row(label, to_uint8(made), case), "calls": result.metrics[0]["nfe"]})
    return found


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/cells.py", __doc__)
    parser.add_argument("--out", type=Path, required=True, help="file for the figures")
    parser.add_argument("--models", default=",".join(MODELS), help="comma separated (%(default)s)")
    parser.add_argument("--records", type=int, default=24, help="of each model (%(default)s)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure and write."""
    found: dict[str, Any] = {}
    for model in args.models.split(","):
        for name, operator in OPERATORS.items():
            found[f"{model}, {name}"] = rows(model, operator, args.records)
            write_json(args.out, {**origin(), "records": args.records, "rows": found})


if __name__ == "__main__":
    command(parser(), run)
