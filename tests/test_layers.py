"""Imports point down only; packages of one layer do not know each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fcs

ROOT = Path(fcs.__file__).parent
LAYERS = [
    "rows levels errors folders intervals memory tf32",
    "directions constraint operators autocast compiled denoiser records pictures composition",
    "samplers models clip",
    "walk",
    "tasks metrics shards",
    "precision solve room fitting predictor loader delivery outcome previews progress signals distributions",
    "run settings schema imports checks config limits ranks machine plan predict launch api pack status report",
    "cli",
]
LAYER = {part: number for number, parts in enumerate(LAYERS) for part in parts.split()}
VERSION = "fcs.__version__"  # the one thing that every layer may read of the package itself
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(file: Path) -> str:
    return file.parts[0].removesuffix(".py")


def imported(file: Path) -> Iterator[str]:
    """Parts of fcs that a file imports, inside functions too."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"fcs/{file}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("fcs.") and name != VERSION)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_down(file: Path) -> None:
    own = part_of(file)
    assert own in LAYER, f"fcs/{file} has no layer: give it one here"
    for other in set(imported(file)) - {own}:
        assert LAYER[other] <= LAYER[own], f"fcs/{file} imports fcs.{other} from above"
        packages = (ROOT / own).is_dir() or (ROOT / other).is_dir()
        assert LAYER[other] < LAYER[own] or not packages, f"fcs/{file} imports its neighbour fcs.{other}"
