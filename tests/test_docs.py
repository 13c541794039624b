"""The page of examples runs as it stands, as a notebook too, and leaves nothing out."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections import Counter
from pathlib import Path

import pytest
from notebook import written

import fcs
from fcs.api import Pictures
from fcs.engine.config.class_names import shipped
from fcs.tools.cli import predict

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "python.md").read_text()
NOTEBOOK = (DOCS / "python.ipynb").read_text()
CELLS = json.loads(NOTEBOOK)["cells"]


def test_the_notebook_is_the_page() -> None:
    assert written(PAGE) == NOTEBOOK, "python jobs/notebook.py writes it"
    texts = ["".join(cell["source"]) for cell in CELLS]
    assert all(text and PAGE.count(text) >= 1 for text in texts)
    assert [cell["cell_type"] for cell in CELLS].count("code") == PAGE.count("```python")


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook's cells, one after the other, as its kernel runs them."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    made = {}
    blocks = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    for number, block in enumerate(blocks):
        line = PAGE[: PAGE.index(block)].count("\n")
        exec(compile("\n" * line + block, "docs/python.md", "exec"), names)
        made |= {f"{number} {name}": value for name, value in names.items() if isinstance(value, Pictures)}
    results = {id(result): result for result in made.values()}.values()
    assert len(results) > 12
    shapes = []
    for result in results:
        sizes = {
            getattr(image, "size", None) if not hasattr(image, "shape") else image.shape[1:] for image in result.images
        }
        shapes += sizes
        assert all(row["residual"] >= 0 and row["nfe"] > 0 for row in result.metrics)
    photo = names["photo"].size  # type: ignore[attr-defined]
    assert Counter(shapes) == {(64, 64): len(results) - 1, photo: 1}
    assert (tmp_path / "out.png").exists()


def test_every_call_and_every_task_is_on_the_page() -> None:
    for name in set(fcs.__all__) - {"Pictures"}:
        assert f"fcs.{name}(" in PAGE, name
    calls = {"inpaint": "fcs.inpaint", "superres": "fcs.superres", "restore": "fcs.restore"}
    for name, task in shipped("task").items():
        assert calls.get(name, f"{task.__name__}(") in PAGE, name


def test_the_examples_of_extensions_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a file beside the working directory, as the page says, and is named on the command line."""
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    example = re.compile(r"^```python\n# (\w+)\.py\n(.*?)^```$\n\n    PYTHONPATH=\. fcs-predict (.*?)\n\n", re.M | re.S)
    examples = example.findall(page)
    assert len(examples) == page.count("```python") == 3
    for module, code, command in examples:
        (tmp_path / f"{module}.py").write_text(code)
        sizes = [] if "sampler=" in command else ["sampler.step_sizes=[5.0]"]
        few = ["steps=1", "data.limit=2", "data.batch_size=2", "trainer.devices=1", *sizes]
        assert predict.main([*shlex.split(command.replace("\\\n", "")), *few]) == 0
        del sys.modules[module]
