"""The tables of docs/models.md say what the adaptor finds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from families.table import families, refused

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()

pytestmark = [pytest.mark.families, pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated")]


@pytest.mark.parametrize(("name", "rows"), [("families", families), ("refused", refused)])
def test_a_table_is_as_it_is_found(name: str, rows: object) -> None:
    (table,) = re.findall(rf"<!-- {name}: [^\n]*\n(.*?)\n<!-- end -->", PAGE, re.DOTALL)
    assert callable(rows)
    assert table.splitlines() == list(rows())
