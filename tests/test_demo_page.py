"""The page to paint on in a headless Chromium: by mouse, on a phone, with no word to other machines."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.waiting import GUARD
from PIL import Image

from fcs.tools.demo import wishes
from fcs.tools.demo.methods import OURS

pytestmark = pytest.mark.browser
pytest.importorskip("selenium", reason="no selenium (pip install '.[browser]')")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("no chromium and chromedriver on PATH", allow_module_level=True)
if find_spec("gradio") is None:
    pytest.skip("no gradio (pip install '.[demo]')", allow_module_level=True)

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402

SHAPE = (1, 16, 16)
COMMAND = "import sys; from fcs.tools.cli.demo import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page that ``fcs-demo`` serves, on the model of digits."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = tmp_path_factory.mktemp("demo") / "said"
    words = [sys.executable, "-c", COMMAND, "--model", "digits-16", "--port", str(port), "--device", "cpu"]
    with said.open("w") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        while not answers(port):
            assert server.poll() is None, said.read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
    assert "Traceback" not in said.read_text()


def answers(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


class Visitor:
    """A page that is open."""

    def __init__(self, driver: webdriver.Chrome, address: str, width: int) -> None:
        self.driver, self.address = driver, address
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(address)
        # The brush's size can be chosen when the picture lies on the canvas, not before.
        self.until(lambda: self.all("#editor button[aria-label='Brush Size']") and self.all("#make"))

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def until(self, met: Callable[[], Any]) -> Any:
        """Wait; how long it takes is the machine's affair, up to what no machine takes."""
        limit = time.monotonic() + GUARD
        while not (found := met()):
            if time.monotonic() > limit:
                raise TimeoutError(f"not within {GUARD:.0f} s; the page says: {self.words}")
            time.sleep(0.2)
        return found

    @property
    def words(self) -> str:
        return str(self.driver.execute_script("return document.getElementById('words').innerText"))

    @property
    def complaint(self) -> str:
        """What the page says in a box of its own, because it cannot do what it is asked for."""
        return " ".join(box.text for box in self.all(".toast-body"))

    def said(self, *parts: str) -> str:
        def found() -> str:
            assert not self.complaint
            return self.words if all(part in self.words for part in parts) else ""

        return str(self.until(found))

    def made(self) -> Image.Image:
        """The picture that is shown."""
        source = str(self.until(lambda: self.all("#made img"))[0].get_attribute("src"))
        with urllib.request.urlopen(source) as answer:
            return Image.open(io.BytesIO(answer.read()))

    def press(self, *keys: str) -> None:
        """Keys, one after the other, for what has the focus."""
        for key in keys:
            webdriver.ActionChains(self.driver).send_keys(key).perform()

    def tab_to(self, name: str) -> None:
        """Press Tab until a part of the page has the focus."""
        inside = "return document.activeElement.closest(arguments[0]) !== null"
        for _ in range(40):
            self.press(Keys.TAB)
            if self.driver.execute_script(inside, f"#{name}"):
                return
        raise AssertionError(f"Tab does not come to {name}")

    def value(self, name: str) -> str:
        """What a field holds."""
        return str(self.driver.execute_script(f"return document.querySelector('#{name} input').value"))

    def chosen(self, name: str) -> str:
        """Which of a group's buttons is chosen."""
        return str(self.driver.execute_script(f"return document.querySelector('#{name} label.selected').innerText"))

    def paint(self) -> None:
        """A stroke from the middle to the right."""
        canvas = self.until(lambda: [one for one in self.all("#editor canvas") if one.is_displayed()])[0]
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        stroke = webdriver.ActionChains(self.driver).move_to_element_with_offset(canvas, 20, 0).click_and_hold()
        for _ in range(4):
            stroke = stroke.move_by_offset(12, 5)
        stroke.release().perform()


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    # The canvas to paint on is drawn by WebGL, here in software.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader"):
        options.add_argument(argument)
    options.add_argument("--enable-unsafe-swiftshader")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    yield made
    made.quit()


@pytest.fixture
def visit(driver: webdriver.Chrome, address: str) -> Iterator[Callable[[int], Visitor]]:
    driver.get_log("browser")
    yield lambda width: Visitor(driver, address, width)
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    asked = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    assert len(urls) > 10
    own = (address, f"blob:{address}", "data:")
    assert [url for url in urls if not url.startswith(own)] == []


def first_picture() -> np.ndarray:
    return np.asarray(wishes.fitted(next(iter(wishes.shipped_pictures("digits-16").values())).picture, SHAPE))


def test_a_painted_hole_is_filled_and_the_rest_is_kept(visit: Callable[[int], Visitor]) -> None:
    page = visit(1200)
    page.paint()
    page.all("#make")[0].click()
    assert "kept pixels exactly as given" in page.said("40 calls", "slider")
    changed = np.asarray(wishes.fitted(page.made(), SHAPE)) != first_picture()
    assert changed.any()
    assert not changed[:, :6].any()  # far from the stroke
    assert changed.sum() < 100
    assert page.all("#curve svg polyline")[0].get_attribute("points").count(",") == 10
    assert len(page.all("#slider img")) == 2


def test_a_keyboard_is_enough(visit: Callable[[int], Visitor]) -> None:
    page = visit(1200)
    page.tab_to("hole")
    for key, expected in ((Keys.ARROW_DOWN, "right half"), (Keys.ARROW_RIGHT, "middle"), (Keys.ARROW_UP, "right half")):
        page.press(key)
        page.until(lambda expected=expected: page.chosen("hole") == expected)
    page.tab_to("task")
    page.press(Keys.ARROW_DOWN)
    page.until(lambda: page.chosen("task") == "outpaint")
    page.tab_to("calls")
    page.press(Keys.ARROW_LEFT)
    page.until(lambda: page.chosen("calls") == "20")
    page.tab_to("method")
    page.until(lambda: page.press(Keys.ARROW_DOWN, Keys.ENTER) or page.value("method") != OURS)
    page.tab_to("make")
    page.press(Keys.ENTER)
    words = page.said("kept pixels exactly as given", "slider")
    assert words.startswith(f"outpaint, {page.value('method')}, 20 calls, seed 0: 16 x 16 pixels")
    page.tab_to("save")


def test_a_picture_of_another_size_is_completed_at_its_own(visit: Callable[[int], Visitor], tmp_path: Path) -> None:
    page = visit(1200)
    photo = np.random.default_rng(0).integers(0, 256, (90, 130)).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    before = page.all("#editor canvas")[0].screenshot_as_png
    page.all("#editor input[type=file]")[0].send_keys(str(tmp_path / "photo.png"))
    page.until(lambda: page.all("#editor canvas")[0].screenshot_as_png != before)
    page.until(lambda: page.all("#editor button[aria-label='Brush Size']"))
    page.tab_to("hole")
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    page.until(lambda: page.chosen("hole") == "middle")
    page.tab_to("make")
    page.press(Keys.ENTER)
    page.said("130 x 90 pixels", "kept pixels exactly as given", "slider")
    made = np.asarray(page.made())[::5, ::5]  # shown enlarged
    hole = np.asarray(wishes.named_hole("middle", (130, 90))) > 0
    assert np.array_equal(made[~hole], photo[~hole])
    assert (made[hole] != photo[hole]).mean() > 0.9


def test_without_a_hole_it_says_so(visit: Callable[[int], Visitor]) -> None:
    page = visit(1200)
    page.all("#make")[0].click()
    assert "hole: expected one" in page.until(lambda: page.complaint)
    assert "Nothing yet" in page.words


def test_a_visitor_who_leaves_in_the_middle_of_an_upload_is_no_error(address: str) -> None:
    # What the server says is looked at when it has ended.
    host, port = address.removeprefix("http://").split(":")
    begun = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 1000\r\n"
    begun += "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    begun += 'Content-Disposition: form-data; name="files"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nhalf'
    with socket.create_connection((host, int(port))) as visitor:
        visitor.sendall(begun.encode())
    urllib.request.urlopen(address, timeout=GUARD).close()  # answered after what came before


@pytest.mark.parametrize("width", [390, 800])
def test_nothing_is_wider_than_the_screen(visit: Callable[[int], Visitor], width: int, tmp_path: Path) -> None:
    page = visit(width)
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width
    page.paint()
    page.driver.execute_script("document.getElementById('make').click()")
    page.said("kept pixels exactly as given", "slider")
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert page.all("#made img")[0].size["width"] >= min(300, width - 100)
