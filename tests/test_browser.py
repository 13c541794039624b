"""The report's page as a person uses it: in a headless Chromium, by mouse, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.reports import HOSTILE, write_run

from fcs.tools.cli.report import main

pytestmark = pytest.mark.browser
pytest.importorskip("selenium", reason="no selenium (pip install '.[browser]')")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("no chromium and chromedriver on PATH", allow_module_level=True)

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

KEYS = [f"k{i:02d}" for i in range(14)]


class Browser:
    """A page that is open."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, page: Path, width: int = 1200, scheme: str = "light") -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(f"file://{page}")

    def __call__(self, name: str) -> WebElement:
        return self.driver.find_element(By.ID, name)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def complaints(self) -> list[object]:
        return self.driver.get_log("browser")

    @property
    def shown(self) -> list[str]:
        return [card.find_element(By.TAG_NAME, "h3").text for card in self.all(".card") if card.is_displayed()]


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    yield made
    made.quit()


@pytest.fixture
def browser(driver: webdriver.Chrome) -> Iterator[Browser]:
    found = Browser(driver)
    found.complaints()
    yield found
    assert found.complaints() == []


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of one run, in which records failed and others have hostile names."""
    folder = tmp_path_factory.mktemp("one")
    keys = [*KEYS, HOSTILE]
    write_run(folder / "out", folder / "in.tar", keys, fails=lambda i: f"bad_image: {HOSTILE}" if i < 2 else None)
    assert main([str(folder / "out")]) == 0
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three runs."""
    folder = tmp_path_factory.mktemp("three")
    outs: list[str] = []
    for number, name in enumerate(("first", "second", "a-rather-long-name-of-a-third-run")):
        scores = [{"psnr": i + number * (i % 3), "lpips": 0.5 - number / 10} for i in range(len(KEYS))]
        write_run(folder / name, folder / "in.tar", KEYS, scores=scores.__getitem__, settings={"steps": 10 + number})
        outs.append(str(folder / name))
    assert main([*outs, "--to", str(folder / "to")]) == 0
    return folder / "to" / "report.html"


def test_filters(browser: Browser, one: Path) -> None:
    browser.open(one)
    everything = browser.shown
    assert len(everything) == 13
    Select(browser("kind")).select_by_value("best")
    Select(browser("score")).select_by_value("psnr")
    best = browser.shown
    assert best[:2] == [HOSTILE, "k13"]
    assert len(best) < 13
    assert browser("count").text == f"{len(best)} of 13"
    badges = [badge.text for badge in browser.all(".badge") if badge.is_displayed()]
    assert all(badge.startswith("best PSNR") for badge in badges)
    Select(browser("kind")).select_by_value("")
    Select(browser("score")).select_by_value("")
    browser("text").send_keys("PROMPT OF K05")
    assert browser.shown == ["k05"]
    browser("text").send_keys(" and nothing")
    assert browser.shown == []
    assert browser("none").is_displayed()


def test_the_slider_parts_the_pictures(browser: Browser, one: Path) -> None:
    browser.open(one)
    browser.all(".strip")[1].click()
    assert browser("viewer").get_attribute("open")
    assert browser.run("return document.activeElement.id") == "split"
    for value, clip in ((0, "0%"), (30, "30%"), (100, "100%")):
        browser.run(
            f"const s = document.getElementById('split'); s.value = {value}; s.dispatchEvent(new Event('input'))"
        )
        assert clip in str(browser.run("return document.getElementById('over').style.clipPath"))
        assert browser.run("return document.getElementById('edge').style.left") == clip
    assert browser("under").get_attribute("alt") == "input"
    assert browser("over").get_attribute("alt") == "result"
    Select(browser("left")).select_by_visible_text("reference")
    shots = browser.all(".strip")[1].find_elements(By.CSS_SELECTOR, "img[alt=reference]")
    assert browser("under").get_attribute("src") == shots[0].get_attribute("src")
    browser("next").click()
    assert browser("under").get_attribute("alt") == "reference"  # what was chosen stays chosen
    browser("close").click()
    assert not browser("viewer").get_attribute("open")


def test_a_press_parts_the_pictures_there(browser: Browser, one: Path) -> None:
    browser.open(one)
    browser.all(".strip")[0].click()
    actions = webdriver.ActionChains(browser.driver)
    width = browser("canvas").size["width"]
    actions.move_to_element_with_offset(browser("canvas"), int(width * 0.25), 0).click().perform()
    assert abs(int(str(browser("split").get_attribute("value"))) - 75) <= 1


def test_zoom(browser: Browser, one: Path) -> None:
    browser.open(one)
    browser.all(".strip")[0].click()
    before = browser("canvas").size["width"]
    browser.run("const z = document.getElementById('zoom'); z.value = 4; z.dispatchEvent(new Event('input'))")
    assert browser("canvas").size["width"] == pytest.approx(4 * before, rel=0.05)
    stage = "document.getElementById('stage')"
    middle = browser.run(f"return ({stage}.scrollLeft + {stage}.clientWidth / 2) / {stage}.scrollWidth")
    assert middle == pytest.approx(0.5, abs=0.05)


def test_by_keyboard_alone(browser: Browser, one: Path) -> None:
    browser.open(one)
    seen = []
    for _ in range(60):
        browser.press(Keys.TAB)
        seen.append(browser.run("return document.activeElement.id || document.activeElement.className"))
        if seen[-1] == "strip":
            break
    assert seen[0] == "skip"
    assert {"kind", "score", "text", "strip"} <= set(seen)
    outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    browser.press(Keys.ENTER)
    first = browser("viewed").text
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert browser("split").get_attribute("value") == "52"
    browser.press("n")
    assert browser("viewed").text != first
    browser.press("p")
    assert browser("viewed").text == first
    browser.press(Keys.ESCAPE)
    assert not browser("viewer").get_attribute("open")
    assert browser.run("return document.activeElement.className") == "strip"


@pytest.mark.parametrize("width", [320, 390, 800])
def test_nothing_is_wider_than_the_screen(browser: Browser, one: Path, three: Path, width: int) -> None:
    for page in (one, three):
        browser.open(page, width)
        browser.run("for (const part of document.querySelectorAll('details')) part.open = true")
        assert browser.run("return document.documentElement.scrollWidth") <= width
        browser.all(".strip")[0].click()
        assert browser.run("return document.getElementById('viewer').getBoundingClientRect().right") <= width


def test_on_a_phone_pictures_are_large_and_soon_reached(browser: Browser, one: Path, three: Path) -> None:
    for page in (one, three):
        browser.open(page, 390)
        assert all(shot.size["width"] >= 130 for shot in browser.all(".shot img") if shot.is_displayed())
        assert browser.run("return document.getElementById('pictures').getBoundingClientRect().top") < 6000
        assert browser.run("return document.documentElement.scrollHeight") < 12000
        assert len(browser.shown) == 6
        browser("more").click()
        assert len(browser.shown) > 6
        browser.run("for (const part of document.querySelectorAll('details')) part.open = true")
        wide = "[...document.querySelectorAll('.scroll')].filter((part) => part.scrollWidth > part.clientWidth + 1)"
        assert browser.run(f"return {wide}.length") == 0


def test_every_picture_has_a_source(browser: Browser, one: Path) -> None:
    browser.open(one)
    assert browser.run("return [...document.images].filter((one) => !one.getAttribute('src')).length") == 0


def test_light_and_dark(browser: Browser, three: Path) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        browser.open(three, scheme=scheme)
        style = "getComputedStyle(document.body)"
        seen[scheme] = [
            sum(map(int, str(browser.run(f"return {style}.{name}")).strip("rgb()").split(",")))
            for name in ("backgroundColor", "color")
        ]
    assert seen["light"][0] > 600 > 150 > seen["light"][1]
    assert seen["dark"][1] > 600 > 150 > seen["dark"][0]


def test_runs_side_by_side(browser: Browser, three: Path) -> None:
    browser.open(three)
    labels = [label.text for label in browser.all(".card:first-of-type .label")]
    assert labels == ["input", "mask", "first", "second", "a-rather-long-name-of-a-third-run", "reference"]
    Select(browser("run")).select_by_visible_text("second")
    Select(browser("kind")).select_by_value("gain")
    Select(browser("score")).select_by_value("psnr")
    assert int(browser.shown[0][1:]) % 3 == 2


def test_what_data_says_does_not_run(browser: Browser, one: Path) -> None:
    browser.open(one)
    assert browser.run("return document.scripts.length") == 1
    assert HOSTILE in str(browser.run("return document.body.textContent"))
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit = 1\">')")
    assert browser.run("return window.hit") is None
    assert [entry for entry in browser.complaints() if "Content Security Policy" not in str(entry)] == []
