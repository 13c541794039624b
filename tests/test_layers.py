"""The rooms of the house and their order: imports point down, and rooms beside each other do not meet.

Tests share what lies in tests/helpers, and nothing else.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fcs

ROOT = Path(fcs.__file__).parent
# From the ground up; names on one line do not import each other.
FLOORS = ["core", "models samplers", "tasks metrics shards", "engine", "api lightning", "tools", "bench"]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()}
INNER = {"shards": ["store", "input", "ledger"]}  # a room with floors of its own, each above the one before
FREE = {"fcs.__version__"}  # what every room may read of the package itself
TESTS = sorted(Path(__file__).parent.rglob("*.py"))
FROM_A_TEST = re.compile(r"^\s*(?:(?:from|import) (?:conftest|tests|test_)|sys\.path\.(?:insert|append))", re.M)
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imported(file: Path) -> Iterator[list[str]]:
    """Parts of the dotted names below fcs that a file imports, inside functions too."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"fcs/{file}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1:] for name in names if name.startswith("fcs.") and name not in FREE)


def allowed(own: list[str], other: list[str]) -> bool:
    """Whether a file at the dotted name ``own`` may import ``other``."""
    if own[0] != other[0]:
        return FLOOR[other[0]] < FLOOR[own[0]]
    floors = INNER.get(own[0])
    return floors is None or floors.index(other[1]) <= floors.index(own[1])


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_down(file: Path) -> None:
    own = list(file.with_suffix("").parts)
    assert own[0] in FLOOR, f"fcs/{file} is in no room"
    for other in imported(file):
        assert allowed(own, other), f"fcs/{file} imports fcs.{'.'.join(other)}"


def test_the_rule_can_be_broken() -> None:
    assert not allowed(["core", "levels"], ["engine", "predict"])
    assert not allowed(["models", "base"], ["samplers", "base"])
    assert not allowed(["shards", "store", "local"], ["shards", "ledger", "parts"])
    assert allowed(["engine", "predict"], ["core", "levels"])


def test_fcs_holds_rooms_and_doors_only() -> None:
    modules = {path.stem for path in ROOT.glob("*.py")}
    assert modules <= {"__init__", "api", "lightning"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders <= set(FLOOR)


def test_no_public_class_name_twice() -> None:
    places: dict[str, list[str]] = {}
    for file in FILES:
        for node in ast.parse((ROOT / file).read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(file))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_tests_import_from_helpers_only(file: Path) -> None:
    assert FROM_A_TEST.findall(file.read_text()) == []


def test_that_rule_can_be_broken_too() -> None:
    for line in ("from conftest import samples", "    import test_ledger as t", "sys.path.insert(0, 'jobs')"):
        assert FROM_A_TEST.search(line), line
    assert not FROM_A_TEST.search("from helpers.shards import samples")
