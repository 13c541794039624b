"""What each shipped config scores on its own records: one run each, and their summaries in one table.

    python jobs/scores.py --out runs/scores --configs emoji_half,emoji_superres4
    python jobs/scores.py --out runs/scores                     # all configs of the embedded models

Writes OUT/CONFIG (a run each, continued if it is there), OUT/scores.json and scores.md: means over the records, with
the 95 % bootstrap interval over them. What follows the options are overrides of every config.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from command import configured

from fcs.bench.origin import origin, write_json
from fcs.bench.tables import markdown
from fcs.bench.trial import RunFailed
from fcs.core.exit_codes import SOME_FAILED
from fcs.core.package_files import CONFIGS
from fcs.shards.ledger.summary import summarize
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.ends import Parser
from fcs.tools.cli.predict import main as fcs_predict

COLUMNS = ("psnr", "psnr_generated", "ssim", "seam", "iou", "style", "clip", "residual")
FAMILIES = ("digits_*.yaml", "emoji_*.yaml")


def row(name: str, out: Path, overrides: list[str]) -> dict[str, Any]:
    """A config's run, and the means of its rows.

    Raises:
        RunFailed: the run failed as a whole.
    """
    code = fcs_predict(["--config", name, f"out={out / name}", "previews.max=0", *overrides])
    if code not in (0, SOME_FAILED):
        raise RunFailed(code)
    summary = summarize(LocalStore(out / name))
    metrics = {key: summary["metrics"][key] for key in (*COLUMNS, "nfe", "seconds") if key in summary["metrics"]}
    return {"config": name, **summary["records"], "metrics": {key: one for key, one in metrics.items() if one["n"]}}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown; columns that no row has are left out."""
    names = [name for name in COLUMNS if any(name in one["metrics"] for one in rows)]
    cells = [[f"`{one['config']}`", one["ok"], *(figure(one["metrics"].get(name)) for name in names)] for one in rows]
    return markdown(["config", "records", *names], cells)


def figure(value: dict[str, Any] | None) -> Any:
    """A mean, with its interval where there is one."""
    return value if value is None or value.get("low") is not None else value["mean"]


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/scores.py", __doc__)
    parser.add_argument("--configs", help="names of shipped configs or paths, comma separated (the embedded models')")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and the table")
    return parser


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Run all, write the table.

    Raises:
        RunFailed: a run failed as a whole.
    """
    shipped = [path.stem for family in FAMILIES for path in sorted(CONFIGS.glob(family))]
    rows = []
    for name in args.configs.split(",") if args.configs else shipped:
        rows.append(row(name, args.out, overrides))
        write_json(args.out / "scores.json", {**origin(), "rows": rows})
    (args.out / "scores.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    configured(parser(), run)
