"""``fcs-bench ablate``: variants of a configuration on the same records and seeds, with paired differences."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from fcs.bench.options import listed_seeds, one, refuse_options
from fcs.bench.origin import origin, write_json
from fcs.bench.paired import PAIRED, STYLED, differences
from fcs.bench.plots import picture_rows
from fcs.bench.posterior import pooled_variation
from fcs.bench.tables import markdown
from fcs.bench.trial import Trial
from fcs.core.errors import UsageError

SHIPPED = Path(__file__).parent / "variants"
ENERGY = ("energy_own", "energy_random")
ONE_SEED = ("psnr_one_seed", "psnr_generated_one_seed", "seam_one_seed")
FIGURES = (*ENERGY, "retrieval", "consistency", *ONE_SEED, *STYLED)
KNOWN = {"consistency": "consistency", "total_variation": "tv"}  # where the posterior is known
PLAIN = ("records", "failed", "nfe", "seconds", "residual")
AS_IT_IS = "as it is"
Row = dict[str, Any]


@dataclass(frozen=True)
class Variants:
    """A config and what is changed of it.

    Attributes:
        config: name or path, as for fcs-predict.
        named: overrides by the variant's name; the first is what the others are compared with.
        captions: whether the records' prompts are given to the model.
        truth: whether the records' pictures are what should come out.
    """

    config: str
    named: dict[str, list[str]]
    captions: bool = False
    truth: bool = True


def from_file(name: str) -> Variants:
    """The variants of a file, or of a shipped one.

    Raises:
        UsageError: a file that is not there or holds something else.
    """
    path = Path(name) if Path(name).is_file() else SHIPPED / f"{name}.yaml"
    shipped = sorted(file.stem for file in SHIPPED.glob("*.yaml"))
    if not path.is_file():
        raise UsageError.of("--variants", name, f"a file or shipped variants ({', '.join(shipped)})", shipped)
    try:
        found = yaml.safe_load(path.read_text())
        named = {str(name): [str(one) for one in overrides] for name, overrides in found["variants"].items()}
        return Variants(str(found["config"]), named, bool(found.get("captions")), bool(found.get("truth", True)))
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UsageError.of(
            "--variants", path, "YAML with `config` and `variants` (a list of overrides each)"
        ) from error


def varied(given: list[str], full: bool) -> dict[str, list[str]]:
    """The config as it is, then with one key changed at a time, or with all combinations.

    Args:
        given: ``KEY=VALUE,VALUE,...`` each, the values as in YAML.
        full: all combinations instead.

    Raises:
        UsageError: something else.
    """
    axes = [axis(text) for text in given]
    chosen = [list(values) for values in product(*axes)] if full else [[one] for values in axes for one in values]
    return {AS_IT_IS: [], **{", ".join(overrides): overrides for overrides in chosen if overrides}}


def axis(text: str) -> list[str]:
    """Overrides for all values of a key."""
    key, _, values = text.partition("=")
    try:
        found = yaml.safe_load(f"[{values}]")
    except yaml.YAMLError:
        found = []
    if not key or not found:
        raise UsageError.of("--vary", text, "KEY=VALUE,VALUE,... with values as in YAML")
    return [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for value in found]


def row(facts: Row, report: dict[str, Any], first: dict[str, Any] | None) -> Row:
    """What is kept of an evaluation beside what the variant is, and its paired difference to the first's."""
    apart = {} if first is None else differences(report["single"], first["single"])
    difference = next((apart[name] for name in PAIRED if name in apart), None)
    kept = {name: report[name] for name in PLAIN} | {name: report.get(name) for name in FIGURES}
    known = {"total_variation": pooled_variation((report.get("posterior") or {}).get("calibration", {}))}
    known |= {f"{name}_difference": apart.get(short) for name, short in KNOWN.items()}
    return {**facts, **kept, "difference_to_first": difference, **known}


def table(rows: list[Row]) -> str:
    """The rows in Markdown; columns that no row has are left out."""
    possible = (*FIGURES, "total_variation", "difference_to_first", *(f"{name}_difference" for name in KNOWN))
    figures = [name for name in possible if any(one[name] for one in rows)]
    names = ["variant", "nfe", "failed", "residual", *figures]
    return markdown([name.replace("_", " ") for name in names], [[one[name] for name in names] for one in rows])


def run(options: argparse.Namespace, overrides: list[str]) -> None:
    """Run what is not there yet, evaluate, write the table and the pictures.

    Raises:
        UsageError: an option or a file that does not fit.
        RunFailed: a run of fcs-predict ended early.
    """
    if options.variants is not None:
        if options.vary:
            raise UsageError.of("--vary", options.vary[0], "no --variants beside it")
        variants = from_file(options.variants)
    elif options.config is not None:
        variants = Variants(options.config, varied(options.vary, options.full))
    else:
        raise UsageError("--config: expected a config, or --variants")
    out, seeds = Path(options.out), listed_seeds(options.seeds)
    limit = () if options.limit is None else (f"data.limit={one(options.limit, '--limit')}",)
    model = () if options.model is None else (f"model.name={options.model}",)
    data = () if options.data is None else (f"data.shards={options.data}",)
    common = (*model, *data, "previews.max=0", *limit, *overrides)
    captions = variants.captions or options.captions
    base = Trial(options.config or variants.config, common, seeds, out, captions, variants.truth)
    trials = {name: base.variant(folder(name), own) for name, own in variants.named.items()}
    for name, trial in trials.items():  # a slip in the last must not be told after the others have run
        refuse_options("ablate", variants.named[name])
        _ = trial.loaded
    rows: list[Row] = []
    first: dict[str, Any] | None = None
    for name, own in variants.named.items():
        report = trials[name].report()
        rows.append(row({"variant": name, "overrides": own}, report, first))
        first = first or report
        write_json(out / "ablate.json", {**origin(), "config": base.config, "rows": rows})
    (out / "ablate.md").write_text(table(rows))
    picture_rows({name: out / folder(name) for name in variants.named}, out / "ablate.png")
    print(table(rows))


def folder(name: str) -> str:
    """A variant's name as that of a folder."""
    return re.sub(r"[^\w.=]+", "-", name)
