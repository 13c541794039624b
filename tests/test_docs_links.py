"""README and docs name files, commands and settings that exist, and every page is reachable from the index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"(?<![\w./*$}-])(?:fcs|docs|configs|jobs|tests|slurm)/[\w./*-]*\w")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(page.read_text()))
    return {word.strip().replace(" ", "-") for word in words}


def links(page: Path) -> list[str]:
    return [link for link in LINK.findall(page.read_text()) if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name if page.parent == DOCS else "top")
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name if page.parent == DOCS else "top")
def test_named_files_exist(page: Path) -> None:
    for path in set(PATH.findall(page.read_text())):
        assert any(ROOT.glob(path)), f"{page.name}: {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name if page.parent == DOCS else "top")
def test_named_commands_and_configs_exist(page: Path) -> None:
    text = page.read_text()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(re.findall(r"(?<![\w/.-])fcs-[a-z]+(?![\w.-])", text)) <= scripts.keys()
    configs = re.findall(r"--config ([a-z0-9_/]+)(?![\w.])", text) + re.findall(r"`((?:sd15|emoji|digits)_\w+)`", text)
    for name in configs:
        assert (ROOT / "configs" / f"{name}.yaml").exists(), f"{page.name}: {name}"


def test_every_page_is_reachable_from_the_index() -> None:
    index = {link.partition("#")[0] for link in links(DOCS / "README.md")}
    pages = {page.name for page in [*DOCS.glob("*.md"), *DOCS.glob("*.html")]} - {"README.md"}
    assert pages <= index
    assert "docs/README.md" in links(ROOT / "README.md")


def test_the_readme_is_short_and_begins_with_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 120
    (first, *_) = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    run, tests = first.splitlines()
    assert "fcs-predict --config" in run
    assert "pytest" in tests
