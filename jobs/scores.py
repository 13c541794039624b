"""What each shipped config scores on its own records: one run each, and their summaries in one table.

    python jobs/scores.py --out runs/scores emoji_half emoji_superres4
    python jobs/scores.py --out runs/scores                     all configs of the embedded models

Writes OUT/CONFIG (a run each, continued if it is there), OUT/scores.json and scores.md: means over the records, with
the 95 % bootstrap interval over them. Arguments with = are overrides of every config named.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from fcs.bench.cells import write
from fcs.bench.options import command
from fcs.core.errors import UsageError
from fcs.core.package_files import CONFIGS
from fcs.shards.ledger.summary import summarize
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.predict import main as fcs_predict

COLUMNS = ("psnr", "psnr_generated", "ssim", "seam", "iou", "style", "clip", "residual")
FAMILIES = ("digits_*.yaml", "emoji_*.yaml")


def row(name: str, out: Path, overrides: list[str]) -> dict[str, Any]:
    """A config's run, and the means of its rows; a run that fails as a whole ends the job."""
    code = fcs_predict(["--config", name, f"out={out / name}", "previews.max=0", *overrides])
    if code not in (0, 3):
        sys.exit(code)
    summary = summarize(LocalStore(out / name))
    metrics = {key: summary["metrics"][key] for key in (*COLUMNS, "nfe", "seconds") if key in summary["metrics"]}
    return {"config": name, **summary["records"], "metrics": {key: one for key, one in metrics.items() if one["n"]}}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown; columns that no row has are left out."""
    names = [name for name in COLUMNS if any(name in one["metrics"] for one in rows)]
    lines = ["| config | records | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 2)]
    for one in rows:
        told = [figure(one["metrics"].get(name)) for name in names]
        lines.append("| " + " | ".join([f"`{one['config']}`", str(one["ok"]), *told]) + " |")
    return "\n".join(lines) + "\n"


def figure(value: dict[str, Any] | None) -> str:
    """A mean, with its interval where there is one."""
    if value is None:
        return ""
    between = f" ({value['low']:.3g} to {value['high']:.3g})" if value.get("low") is not None else ""
    return f"{value['mean']:.3g}{between}"


def parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", help="names of shipped configs, or paths (those of the embedded models)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and the table")
    return parser


def run(args: argparse.Namespace, further: list[str]) -> None:
    """Run all, write the table.

    Raises:
        UsageError: an option that there is not.
    """
    if unknown := [one for one in further if one.startswith("-")]:
        raise UsageError.of("option", unknown[0], "CONFIG, --out or key=value")
    given = [*args.configs, *further]
    overrides = [one for one in given if "=" in one]
    names = [one for one in given if "=" not in one]
    names = names or [path.stem for family in FAMILIES for path in sorted(CONFIGS.glob(family))]
    rows = []
    for name in names:
        rows.append(row(name, args.out, overrides))
        write(rows, args.out / "scores.json")
    (args.out / "scores.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    command(parser(), run)
