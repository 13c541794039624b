"""Photographs of any size completed at their own: is all but the hole kept, does the hole show, what does it cost?

    python jobs/native_sizes.py --out runs/native_sizes               about half an hour on two cores

Forty photographs of odd sizes, some turned by EXIF only, with small holes, are packed and run with
``data.resize=crop_to_mask``. Outside the holes each result must equal the decoded input. Its seam is compared with that
of the same crops in a run of their own, at the model's size and with the same noise. Then one picture is completed
again and again, with more crops and with more pixels, each time in a process of its own: CPU seconds (user and system)
and peak memory, beside those of decoding and encoding alone. Writes OUT/native_sizes.json.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from command import command
from PIL import Image
from sizes.costs import cost
from sizes.photos import write_folder

import fcs
from fcs.bench.origin import origin, write_json
from fcs.bench.trial import RunFailed
from fcs.core.images import to_pil
from fcs.core.masks import read_mask
from fcs.core.pictures import open_picture, read_picture
from fcs.core.records import crop_seed, record_seed
from fcs.lightning import configure
from fcs.models import Model
from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import resolve
from fcs.shards.store.tar_writer import TarWriter
from fcs.tools.cli.ends import Parser
from fcs.tools.cli.pack import main as pack
from fcs.tools.cli.predict import main as predict

MARGIN = 0.25
CROPS, AREAS = (1, 4, 16, 64), (1, 4, 16, 48)  # of one picture; megapixels


def quality(out: Path, config: str, count: int, overrides: list[str]) -> dict[str, Any]:
    """The runs over photographs: which pixels were kept, and how visible the holes' edges are."""
    write_folder(out / "photos", count, np.random.default_rng(0))
    _done(pack([str(out / "photos"), str(out / "shards")]))
    shards = f"data.shards={out}/shards/*.tar"
    run = ["--config", config, "previews.max=0", *overrides]
    _done(predict([*run, shards, f"out={out}/native", "data.resize=crop_to_mask", f"task.margin={MARGIN}"]))
    (shard,) = resolve(f"{out}/shards/*.tar")
    model = _model(config, overrides)
    height, width = model.picture_shape[1:]
    with ShardReader(shard, Format(3, height, width, "crop_to_mask", True, margin=MARGIN)) as reader:
        records = [reader.record(number) for number in range(len(reader))]
        with open(out / "crops.tar", "wb") as file, TarWriter(file) as tar:
            for record in records:
                for sample in record.samples:
                    seed = crop_seed(record_seed(0, shard.stem, str(record.key)), sample.crop)
                    key = f"{record.key}-{sample.crop}"
                    tar.write(f"{key}.png", _png(sample.image))
                    tar.write(f"{key}.mask.png", _png(sample.mask))
                    tar.write(f"{key}.json", json.dumps({"seed": seed}).encode())
    _done(predict([*run, f"data.shards={out}/crops.tar", f"out={out}/crops"]))
    native, crops = (_rows(out / name) for name in ("native", "crops"))
    enlarged = [row for row in native if any(box[2] - box[0] > width for box in row["crops"])]
    return {
        "records": len(native),
        "sizes": f"{min(row['size'] for row in native)} to {max(row['size'] for row in native)}",
        "crops": len(crops),
        "records_with_reduced_crops": len(enlarged),
        "records_equal_outside_their_holes": _kept(out, shard.stem),
        "seam": _mean(native, "seam"),
        "seam_of_reduced_crops": _mean(enlarged, "seam"),
        "seam_at_the_models_size": _mean(crops, "seam"),
        "psnr_generated": _mean(native, "psnr_generated"),
        "psnr_generated_at_the_models_size": _mean(crops, "psnr_generated"),
    }


def _kept(out: Path, stem: str) -> int:
    """Records whose result has the input's size and equals it outside the hole."""
    given = _members(out / "shards" / f"{stem}.tar")
    count = 0
    for key, members in _members(out / "native" / "shards" / f"{stem}.tar").items():
        name = next(suffix for suffix in given[key] if suffix in ("png", "jpg"))
        image = np.array(read_picture(open_picture(given[key][name]), "RGB")[0])
        mask = np.array(read_mask(open_picture(given[key]["mask.png"]))[0])
        made = np.array(Image.open(io.BytesIO(members["png"])))
        count += made.shape == image.shape and bool((made[mask == 0] == image[mask == 0]).all())
    return count


def _members(path: Path) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, suffix = member.name.partition(".")
            file = tar.extractfile(member)
            assert file is not None
            found.setdefault(key, {})[suffix] = file.read()
    return found


def _rows(out: Path) -> list[dict[str, Any]]:
    rows = pq.read_table(next((out / "metrics").glob("*.parquet"))).to_pylist()
    return [row for row in rows if row["status"] == "ok"]


def _mean(rows: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows if row[name] is not None]))


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    to_pil(picture).save(buffer, "png")
    return buffer.getvalue()


def _model(config: str, overrides: list[str]) -> Model:
    return fcs.load(configure(config, *overrides).config.model.name, device="cpu")


def _done(code: int) -> None:
    if code:
        raise RunFailed(code)


def parser() -> Parser:
    """The options."""
    made = Parser("python jobs/native_sizes.py", __doc__)
    made.add_argument("--out", type=Path, required=True, help="folder for native_sizes.json and all runs")
    made.add_argument("--config", default="faces_inpaint", help="of the runs (faces_inpaint)")
    made.add_argument("--records", type=int, default=40, help="photographs (40)")
    made.add_argument("--crops", type=int, nargs="*", default=CROPS, help="of one picture of 12 megapixels (1 4 16 64)")
    made.add_argument("--areas", type=float, nargs="*", default=AREAS, help="megapixels, with one crop (1 4 16 48)")
    made.add_argument("--steps", type=int, default=4, help="network calls a crop where costs are measured (4)")
    return made


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Measure, and write native_sizes.json; overrides go to the runs."""
    work = args.out / "work"
    shutil.rmtree(work, ignore_errors=True)
    found = quality(work, args.config, args.records, overrides)
    print(json.dumps(found, indent=1))
    model = _model(args.config, overrides)
    costs = [cost(model, work / "costs", 12, count, args.steps) for count in args.crops]
    costs += [cost(model, work / "costs", area, 1, args.steps) for area in args.areas]
    for one in costs:
        print("  ".join(f"{name} {value:g}" for name, value in one.items()))
    write_json(args.out / "native_sizes.json", {**origin(), "photographs": found, "costs": costs})


if __name__ == "__main__":
    command(parser(), run)
