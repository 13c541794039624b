r"""What each feature is worth: variants of a configuration on the same records and seeds, with paired differences.

    python fcs/bench/worth.py fcs/bench/variants/superres4.yaml --limit 48 --out runs/worth/superres4 \
        data.shards=runs/emoji/data/shards/tune.tar

The file names a config and its variants, each a name and a list of overrides; the first is what the others are
compared with. Writes OUT/worth.json (a row a variant, with intervals), worth.md and worth-pictures.png (the same
records in every variant). Finished variants are not run again. What follows the options are overrides of all.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from fcs.bench.cells import Series, row, table, write
from fcs.bench.options import command, whole
from fcs.bench.plots import picture_rows
from fcs.core.errors import UsageError


@dataclass(frozen=True)
class Variants:
    """A file of variants: config, whether prompts are given and pictures are the truth, and the overrides by name."""

    config: str
    captions: bool
    truth: bool
    named: dict[str, list[str]]


def variants(path: Path) -> Variants:
    """What a file holds.

    Raises:
        UsageError: a file that is not there or holds something else.
    """
    try:
        found = yaml.safe_load(path.read_text())
        named = {str(name): [str(one) for one in overrides] for name, overrides in found["variants"].items()}
        return Variants(str(found["config"]), bool(found.get("captions")), bool(found.get("truth", True)), named)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UsageError.of("FILE", path, "YAML with `config` and `variants` (a list of overrides each)") from error


def parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="config and variants, YAML")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and the results")
    parser.add_argument("--limit", type=int, help="records of each variant")
    parser.add_argument("--seeds", default="0,1", help="seeds, comma separated (%(default)s)")
    return parser


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Run all variants, write the table and the pictures.

    Raises:
        UsageError: a file or an option that does not fit.
    """
    file = variants(args.file)
    limit = [] if args.limit is None else [f"data.limit={args.limit}"]
    folders = {name: re.sub(r"[^\w.=]+", "-", name) for name in file.named}
    first = next(iter(folders.values()))
    common = ("previews.max=0", *limit, *overrides)
    series = Series(file.config, common, whole(args.seeds, "--seeds"), args.out, first, file.truth)
    rows = []
    for name, folder in folders.items():
        rows.append(row({"variant": name}, series.report(folder, file.named[name], file.captions)))
        write(rows, args.out / "worth.json")
    told = table(rows, ("variant",))
    (args.out / "worth.md").write_text(told)
    picture_rows({name: args.out / folder for name, folder in folders.items()}, args.out / "worth-pictures.png")
    print(told)


if __name__ == "__main__":
    command(parser(), run)
