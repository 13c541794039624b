"""The sample of a report: three methods on the 72 emoji that ship with the package, side by side.

    python jobs/sample_report.py --out runs/sample && cp runs/sample/report.html docs/sample-report.html

Newton with one move a level, the local direction with one, and replacement; each otherwise as ``emoji_inpaint`` says.
Finished runs are not run again. What follows the options are overrides of every run, such as ``data.limit=24``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fcs.tools.cli import predict, report

METHODS = {
    "newton": ("sampler.step_sizes=[0.5]",),
    "local": ("sampler.direction=local", "sampler.step_sizes=[0.5]"),
    "replacement": ("sampler=replacement",),
}


def main() -> int:
    """Run what is missing, then make the page; returns the exit code of what went wrong first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and the page")
    options, overrides = parser.parse_known_args()
    for name, own in METHODS.items():
        code = predict.main(["--config", "emoji_inpaint", f"out={options.out}/{name}", *own, *overrides])
        if code:
            return code
    return report.main([*(str(options.out / name) for name in METHODS), "--to", str(options.out)])


if __name__ == "__main__":
    sys.exit(main())
