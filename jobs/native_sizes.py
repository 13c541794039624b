"""Photographs of any size completed at their own: is all but the hole kept, does the hole show, what does it cost?

    python jobs/native_sizes.py --out runs/native_sizes               a quarter of an hour on one core

Forty photographs of odd sizes, some turned by EXIF only, with small holes, are packed and run with
``data.resize=crop_to_mask``. Outside the holes each result must equal the decoded input. The seams of each picture's
holes are compared with those of the same holes in a run of the crops alone, at the model's size and with the same
noise, picture by picture. Then one picture is completed again and again, with more crops and with more pixels, each
time in processes of their own: CPU seconds (user and system) of each part, and peak memory beside that of decoding and
encoding alone. Writes OUT/native_sizes.json.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from command import configured
from sizes.costs import MARGIN, cost
from sizes.pairs import models_size, own_size, paired
from sizes.photos import write_folder

import fcs
from fcs.bench.origin import origin, write_json
from fcs.bench.trial import RunFailed
from fcs.core.collate import crop_seed, record_seed
from fcs.core.images import to_pil
from fcs.core.masks import read_mask
from fcs.core.pictures import open_picture, read_picture
from fcs.core.records import Record
from fcs.lightning import configure
from fcs.models import Model
from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import resolve
from fcs.shards.input.whole_tar import members_by_key
from fcs.shards.store.tar_writer import TarWriter
from fcs.tools.cli.ends import Parser
from fcs.tools.cli.pack import main as pack
from fcs.tools.cli.predict import main as predict

CROPS, AREAS = (1, 2, 4), (1, 12, 48)  # of one picture; megapixels


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
    _write_crops(out / "crops.tar", records, shard.stem)
    _done(predict([*run, f"data.shards={out}/crops.tar", f"out={out}/crops"]))
    given, results, crops = (
        members_by_key(path)
        for path in (Path(shard.url), out / f"native/shards/{shard.stem}.tar", out / "crops/shards/crops.tar")
    )
    natives = {str(record.key): record.native for record in records if record.native is not None}
    own, models = {}, {}
    for key, native in natives.items():
        own[key] = own_size(_pixels(results[key]), _pixels(given[key]), native)
        models[key] = models_size([_pixels(crops[f"{key}-{number}"]) for number in range(len(native.crops))], native)
    reduced = [key for key, native in natives.items() if any(crop.frame.width > width for crop in native.crops)]
    sizes = [(native.height, native.width) for native in natives.values()]
    return {
        "records": len(records),
        "sizes": f"{min(sizes)} to {max(sizes)}",
        "crops": len(crops),
        "records_equal_outside_their_holes": sum(_kept(results[key], given[key]) for key in natives),
        "all": paired(own, models),
        "with_reduced_crops": paired(*({key: figures[key] for key in reduced} for figures in (own, models))),
    }


def _write_crops(path: Path, records: list[Record], stem: str) -> None:
    """A shard of the crops of records, each with the seed that it has in a run of the whole pictures."""
    with open(path, "wb") as file, TarWriter(file) as tar:
        for record in records:
            for sample in record.samples:
                seed = crop_seed(record_seed(0, stem, str(record.key)), sample.crop)
                key = f"{record.key}-{sample.crop}"
                tar.write(f"{key}.png", _png(sample.image))
                tar.write(f"{key}.mask.png", _png(sample.mask))
                tar.write(f"{key}.json", json.dumps({"seed": seed}).encode())


def _kept(result: dict[str, bytes], given: dict[str, bytes]) -> bool:
    """Whether a result has the input's size and equals it outside the hole, by the files alone."""
    made, image = _pixels(result), _pixels(given)
    mask = np.array(read_mask(open_picture(given["mask.png"]))[0])
    return made.shape == image.shape and bool((made[mask == 0] == image[mask == 0]).all())


def _pixels(members: dict[str, bytes]) -> Any:
    """A record's picture as it is read."""
    data = next(data for suffix, data in members.items() if suffix in ("png", "jpg"))
    return np.array(read_picture(open_picture(data), "RGB")[0])


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
    made.add_argument("--crops", type=int, nargs="*", default=CROPS, help="of one picture (1 2 4)")
    made.add_argument("--areas", type=float, nargs="*", default=AREAS, help="megapixels of it (1 12 48)")
    made.add_argument("--steps", type=int, default=4, help="network calls a crop where costs are measured (4)")
    made.add_argument("--repeats", type=int, default=3, help="of each cost, of which the least counts (3)")
    return made


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Measure, and write native_sizes.json; overrides go to the runs."""
    work = args.out / "work"
    shutil.rmtree(work, ignore_errors=True)
    found = quality(work, args.config, args.records, overrides)
    print(json.dumps(found, indent=1))
    model = _model(args.config, overrides)
    costs = []
    for area, count in product(args.areas, args.crops):
        costs.append(cost(model, work / "costs", area, count, args.steps, args.repeats))
        print(json.dumps(costs[-1]), flush=True)
    write_json(args.out / "native_sizes.json", {**origin(), "photographs": found, "costs": costs})


if __name__ == "__main__":
    configured(parser(), run)
