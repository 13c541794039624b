"""The page docs/python.md as a notebook: its text in Markdown cells, its code in code cells, nothing else.

python jobs/notebook.py                          # docs/python.md to docs/python.ipynb
python jobs/notebook.py --page PAGE.md --out NOTEBOOK.ipynb
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from command import command

from fcs.tools.cli.ends import Parser

DOCS = Path(__file__).parents[1] / "docs"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def notebook(page: str) -> dict[str, Any]:
    """A notebook of a Markdown page, format 4.4."""
    cells: list[dict[str, Any]] = []
    for place, part in enumerate(CODE.split(page)):  # text and code in turn
        source = part.strip("\n").splitlines(keepends=True)
        if source:
            code: dict[str, Any] = {"execution_count": None, "outputs": []} if place % 2 else {}
            cells.append({"cell_type": "code" if place % 2 else "markdown", "metadata": {}, "source": source, **code})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}


def written(page: str) -> str:
    """The notebook as it stands in its file."""
    return json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n"


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/notebook.py", __doc__)
    parser.add_argument("--page", type=Path, default=DOCS / "python.md", help="what is read (docs/python.md)")
    parser.add_argument("--out", type=Path, default=DOCS / "python.ipynb", help="what is written (docs/python.ipynb)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Write the notebook."""
    args.out.write_text(written(args.page.read_text()))


if __name__ == "__main__":
    command(parser(), run)
