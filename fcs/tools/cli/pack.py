"""``fcs-pack``: input shards from pictures in a folder, a table or a dataset on disk."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fcs.core.errors import Interrupted, UsageError
from fcs.core.exit_codes import SOME_FAILED
from fcs.core.notes import note_lines
from fcs.core.plurals import count_of
from fcs.engine.signals import Stop
from fcs.shards.input.cell_values import Captions
from fcs.shards.input.table_roles import ROLES
from fcs.tools.cli.ends import Parser, ending
from fcs.tools.cli.words import whole
from fcs.tools.pack.folder_names import PICTURES, MaskNames
from fcs.tools.pack.masks import FRACTIONS

if TYPE_CHECKING:
    from fcs.tools.pack.write_shards import Packed

FILES = "files"
LARGEST = 8192  # pixels a side
LONGEST = 400  # characters of a message

HELP = """\
Makes input shards from pictures, with their masks, prompts and other data.

SOURCE is a folder (NAME.mask.png, NAME.txt and NAME.json beside a picture belong to it), a CSV, TSV, JSONL or Parquet
table with a column of paths (relative to the table) or of image bytes, several such tables, a glob or a folder of them,
or a Hugging Face dataset on disk (save_to_disk). Further columns of a table go into KEY.json. OUT is a new or an empty
folder.
"""
CODES = """\
Pictures that cannot be read are named and left out.
exit codes: 0 all records are in shards, 2 usage, 3 some were left out, 70 defect, 74 storage, 75 interrupted
(OUT is empty then)
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code. Every error is one line on stderr."""

    def work() -> int:
        with Stop(last=arguments is None) as stop:
            return _pack(sys.argv[1:] if arguments is None else arguments, stop)

    return ending("fcs-pack", work)


def _parser() -> Parser:
    parser = Parser("fcs-pack", HELP, CODES)
    add = parser.add_argument
    add("source", metavar="SOURCE", nargs="+")
    add("out", metavar="OUT")
    add("--mask", default=FILES, metavar="KIND", help=f"{FILES} (default): the masks that belong to the pictures; or a "
        f"generated mask for every record, white = generate: {', '.join(FRACTIONS)}")  # fmt: skip
    add("--fraction", metavar="F", help="share of the picture that a generated mask covers "
        "(0.5; box and freeform 0.25, outpaint 0.75)")  # fmt: skip
    add("--seed", default="0", metavar="N", help="seed of the generated masks (0)")
    add("--size", metavar="N|WxH", help="scale and crop to this many pixels; by default pictures stay as they are")
    add("--records-per-shard", default="1000", metavar="N", help="number of records in each shard (1000)")
    add("--limit", metavar="N", help="only the first N records of SOURCE")
    add("--split", metavar="NAME", help="which split of a dataset that has several")
    add("--mask-suffix", metavar="TEXT", help="a mask is called as its picture, this, and .png or the like (.mask)")
    add("--mask-folder", metavar="FOLDER", help="masks are in this folder of SOURCE, or path, called as their pictures")
    add("--measurements", action="store_true", help="a record for each NAME.npy of a folder: floats that an operator "
        "made of a picture in [-1, 1], for task=restore task.measurement=npy")  # fmt: skip
    add("--caption", metavar="N|random", help="of several captions: the first (1), ..., or any by --seed")
    for role in ROLES:
        add(
            f"--{role}-column",
            metavar="NAME",
            help=f"column of a table with the {role}; by default one with a usual name",
        )
    return parser


def _pack(given: list[str], stop: Stop) -> int:
    options = _parser().read(given)
    if options is None:
        return 0
    kind = None if options.mask == FILES else options.mask
    if kind is not None and kind not in FRACTIONS:
        raise UsageError.of("--mask", kind, f"{FILES} or one of {', '.join(FRACTIONS)}", [FILES, *FRACTIONS])
    if options.fraction is not None and kind is None:
        raise UsageError.of("--fraction", options.fraction, "a generated --mask")
    if options.mask_column is not None and kind is not None:
        raise UsageError.of("--mask-column", options.mask_column, f"--mask {FILES}, not {kind}")
    for option, value in {"--mask": kind, "--size": options.size}.items():
        if options.measurements and value is not None:
            raise UsageError.of(option, value, "pictures, not --measurements")
    fraction = None if options.fraction is None else _fraction(options.fraction)
    size = None if options.size is None else _size(options.size)
    seed, per_shard = whole("--seed", options.seed, 0), whole("--records-per-shard", options.records_per_shard, 1)
    limit = None if options.limit is None else whole("--limit", options.limit, 1)
    # Importing torch takes a second, so options are checked before.
    from fcs.tools.pack.open_source import Reading, open_source
    from fcs.tools.pack.record_members import Recipe
    from fcs.tools.pack.write_shards import pack

    recipe = Recipe(kind, fraction or FRACTIONS.get(kind or "", 0.5), seed, size)
    columns = {role: getattr(options, f"{role}_column") for role in ROLES}
    captions = None if options.caption is None else _captions(options.caption, seed)
    masks = _mask_names(options.mask_suffix, options.mask_folder)
    how = Reading(columns, options.split, masks, captions, "measurement" if options.measurements else "image")
    found = open_source([Path(source) for source in options.source], how, print)

    def check() -> None:
        if stop.name is not None:
            raise Interrupted(f"stopped by {stop.name}; nothing is left of it, run the same command again")

    packed = pack(islice(found, limit), Path(options.out), recipe, per_shard, _say, check)
    made = sum(packed.sizes.values())
    for line in note_lines(packed.notes):
        print("fcs-pack:", line, file=sys.stderr)
    others = {"masks": "mask.png", "prompts": "txt", "KEY.json": "json"}
    if made:
        print(", ".join(f"{what}: {packed.members.get(suffix, 0)} of {made}" for what, suffix in others.items()))
    for line in _advice(packed):
        print(line)
    print(
        f"{options.out}: {count_of(len(packed.sizes), 'shard')}, {count_of(made, 'record')}, {packed.left_out} left out"
    )
    return SOME_FAILED if packed.left_out else 0


def _advice(packed: Packed) -> Iterator[str]:
    """What a run may stumble over, with the setting that mends it."""
    if packed.pictures is None:
        return
    least, most = (f"{width}x{height}" for width, height in packed.pictures)
    sizes = f"all {least}" if least == most else f"{least} to {most}"
    ways = (
        "data.resize=crop or data.resize=pad brings them to another size of a model's, crop_to_mask inpaints them as is"
    )
    yield f"pictures: {sizes}; {ways}"
    bare = sum(packed.sizes.values()) - packed.members.get("mask.png", 0)
    if bare:
        lacking = count_of(bare, "record")
        yield f"{lacking} without a mask would fail in task=inpaint; fcs-pack --mask box makes masks for all"


def _say(name: str, reason: str) -> None:
    line = " ".join(f"{name}: {reason}".split())
    line = line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    print("fcs-pack: left out:", line, file=sys.stderr)


def _mask_names(suffix: str | None, folder: str | None) -> MaskNames:
    said = suffix is not None or folder is not None
    if suffix is None:
        return MaskNames(folder=folder, said=said)
    end = next((end for end in PICTURES if suffix.lower().endswith(end)), "")
    bare = suffix[: len(suffix) - len(end)]
    if not bare.strip() or "/" in bare:
        raise UsageError.of("--mask-suffix", suffix, "what stands between the picture's name and .png, like _mask")
    return MaskNames(bare, folder, said)


def _captions(text: str, seed: int) -> Captions:
    if text == "random":
        return Captions(None, seed)
    return Captions(whole("--caption", text, 1, ", or random"), seed)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise UsageError.of("--fraction", text, "a number above 0 and below 1")
    return value


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    sides = (width, height if cross else width)
    if not all(side.isascii() and side.isdigit() and 1 <= int(side) <= LARGEST for side in sides):
        raise UsageError.of("--size", text, f"pixels, N or WIDTHxHEIGHT, 1 to {LARGEST}")
    return int(sides[0]), int(sides[1])


if __name__ == "__main__":
    sys.exit(main())
