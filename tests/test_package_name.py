"""What the distribution is called: ``fcs`` on the package index is another project, which nobody may be sent to."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = ["README.md", "pyproject.toml", *(f"{folder}/**/*" for folder in ("docs", "fcs", "jobs", "slurm", ".ci"))]


def test_the_distribution_has_a_name_of_its_own_and_the_commands_keep_theirs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "fcs-diffusion"
    assert "fcs-predict" in project["scripts"]
    extras = [need for needs in project["optional-dependencies"].values() for need in needs]
    own = [need for need in extras if need.startswith("fcs")]
    assert own
    assert all(re.fullmatch(r"fcs-diffusion\[\w+\]", need) for need in own)


@pytest.mark.parametrize("pattern", TEXTS)
def test_no_text_installs_the_other_project(pattern: str) -> None:
    suffixes = {".py", ".md", ".toml", ".txt", ".html", ".sbatch", ""}
    for path in ROOT.glob(pattern):
        if path.is_file() and path.suffix in suffixes:
            found = re.search(r"\bfcs\[\w|install (-\w+ )*'?fcs\b", path.read_text(errors="replace"))
            assert found is None, f"{path}: {found}"
