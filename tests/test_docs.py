"""The page of examples runs as it stands, and leaves nothing out."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

import fcs
from fcs.api import Pictures
from fcs.engine.config.class_names import shipped
from fcs.tools.cli import predict

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    made = {}
    for number, block in enumerate(BLOCKS):
        line = PAGE[: PAGE.index(block)].count("\n")
        exec(compile("\n" * line + block, "docs/python.md", "exec"), names)
        made |= {f"{number} {name}": value for name, value in names.items() if isinstance(value, Pictures)}
    results = {id(result): result for result in made.values()}.values()
    assert len(results) > 12
    for result in results:
        assert all(image.size == (64, 64) for image in result.images)
        assert all(row["residual"] >= 0 and row["nfe"] > 0 for row in result.metrics)
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
