"""The page to paint on, without gradio: what is asked for, what is made level by level, the command."""

from __future__ import annotations

import socket
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fcs
from fcs.core.errors import UsageError
from fcs.models import Model
from fcs.tools.cli import demo
from fcs.tools.demo import methods, wishes
from fcs.tools.demo.curve import curve
from fcs.tools.demo.free_port import free_port
from fcs.tools.demo.making import kept_exactly, making
from fcs.tools.demo.wishes import Controls, Wish, wish_of

SHAPE = (1, 16, 16)
DIGIT = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8))
HALF = wishes.named_hole("right half", (16, 16))


def wish(**changes: Any) -> Wish:
    return Wish(**{"picture": DIGIT, "hole": HALF, "task": "inpaint", "method": methods.OURS, "calls": 20, **changes})


@pytest.mark.parametrize("kind", methods.METHODS)
@pytest.mark.parametrize("calls", methods.CALLS)
def test_no_method_takes_more_calls_than_asked_for(kind: str, calls: int) -> None:
    for name in methods.METHODS[kind]:
        sampler = methods.method(kind, name)
        levels = methods.levels_within(sampler, calls)
        assert sampler.calls(levels) <= calls or levels == 1, name
        assert sampler.calls(levels + 1) > calls or levels == methods.MOST_LEVELS, name
    assert methods.levels_within(methods.method("known", methods.PAPER), 220) == 20


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_what_is_shown_large_comes_back_exactly(mode: str) -> None:
    large = wishes.shown(DIGIT.convert(mode))
    assert large.size == (448, 448)
    assert np.array_equal(np.asarray(wishes.fitted(large, SHAPE)), np.asarray(DIGIT))


def test_any_picture_becomes_one_of_the_models_size() -> None:
    for size in ((300, 200), (20, 333), (16, 16), (7, 7)):
        assert wishes.fitted(Image.new("RGB", size), (3, 64, 48)).size == (48, 64)


def test_holes_are_what_was_painted() -> None:
    strokes = np.zeros((160, 160, 4), np.uint8)
    strokes[40:80, 80:120] = (255, 255, 255, 90)
    mask = np.asarray(wishes.painted([Image.fromarray(strokes)], (16, 16)))
    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(np.argwhere(mask)[[0, -1]], [[4, 8], [7, 11]])
    assert np.array_equal(np.asarray(wishes.painted([Image.fromarray(strokes)] * 2, (160, 160))), strokes[..., 1])
    assert wishes.painted([], (16, 16)).getextrema() == (0, 0)
    assert np.asarray(wishes.around((16, 16))).mean() == 255 * 0.75


def asked(**changes: Any) -> Controls:
    editor: dict[str, Any] = {"background": wishes.shown(DIGIT), "layers": [], "composite": None}
    return Controls(editor, wishes.PAINTED, "inpaint", methods.OURS, 20, "", 0)._replace(**changes)


def test_what_is_not_asked_for_is_refused() -> None:
    with pytest.raises(UsageError, match="hole: expected one"):
        wish_of(SHAPE, asked())
    for nothing in (None, {"background": None, "layers": []}):
        with pytest.raises(UsageError, match="picture: expected one"):
            wish_of(SHAPE, asked(editor=nothing, hole="middle"))
    assert wish_of(SHAPE, asked(hole="middle")).hole == wishes.named_hole("middle", (16, 16))
    assert wish_of(SHAPE, asked(task="outpaint")).hole == wishes.around((16, 16))
    assert wish_of(SHAPE, asked(task="superresolution", seed=None)).hole is None


@pytest.mark.parametrize("size", [(448, 448), (450, 448), (40, 30), (7, 9)])
def test_a_picture_keeps_its_size_where_a_hole_is_filled(size: tuple[int, int]) -> None:
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 256, size[::-1], np.uint8))
    editor = {"background": photo.convert("RGBA"), "layers": []}
    for task in ("inpaint", "outpaint"):
        made = wish_of(SHAPE, asked(editor=editor, hole="middle", task=task))
        assert made.picture == photo
        assert made.hole is not None
        assert made.hole.size == size
    assert wish_of(SHAPE, asked(editor=editor, task="superresolution")).picture.size == (16, 16)


def photograph(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(2).integers(0, 256, (height, width), np.uint8))


def test_a_larger_picture_is_completed_at_its_own_size(digits: Model) -> None:
    photo, hole = photograph(60, 50), Image.new("L", (60, 50))
    hole.paste(255, (4, 5, 10, 9))
    hole.paste(255, (40, 30, 46, 38))
    mine = wish(picture=photo, hole=hole, calls=40)
    *stages, last = making(digits, mine)
    expected = fcs.inpaint(
        digits, photo, hole, steps=last.levels, sampler=methods.method("known", mine.method), resize="crop_to_mask"
    )
    assert expected.metrics[0]["crops"] == 2
    assert last.picture == expected.images[0]
    assert kept_exactly(last.picture, mine)
    assert len(stages) == last.levels
    assert all(kept_exactly(stage.picture, mine) and stage.picture != photo for stage in stages)
    off = [np.abs(np.subtract(stage.picture, last.picture, dtype=int)).sum() for stage in stages]
    assert off[-1] < off[0] / 2
    assert last.residuals[-1] < last.residuals[0]


def test_more_places_than_are_made_at_once_are_refused(digits: Model) -> None:
    hole = np.zeros((400, 400), np.uint8)
    hole[20::80, 20::80] = 255
    with pytest.raises(UsageError, match="hole=25 places: expected at most 16 places"):
        list(making(digits, wish(picture=photograph(400, 400), hole=Image.fromarray(hole))))


def test_what_is_looked_at_is_neither_tiny_nor_huge() -> None:
    for size, expected in (((16, 16), (448, 448)), ((600, 500), (600, 500)), ((4000, 3000), (1334, 1000))):
        assert wishes.overview(Image.new("L", size)).size == expected


def test_a_picture_comes_into_being_level_by_level(digits: Model) -> None:
    *stages, last = making(digits, wish(calls=40))
    assert [stage.level for stage in stages] == list(range(1, last.levels + 1))
    assert [len(stage.residuals) for stage in stages] == [stage.level for stage in stages]
    assert (last.done, last.calls, len(last.residuals)) == (True, 40, last.levels)
    assert last.residuals[-1] < last.residuals[0]
    assert kept_exactly(last.picture, wish())
    assert not kept_exactly(Image.new("L", (16, 16), 1), wish())


@pytest.mark.parametrize("name", methods.METHODS["known"])
def test_every_method_makes_something(digits: Model, name: str) -> None:
    last = list(making(digits, wish(method=name)))[-1]
    assert last.done
    assert last.picture.size == (16, 16)


def test_superresolution_gives_the_small_picture_back(digits: Model) -> None:
    last = list(making(digits, wish(task="superresolution", hole=None)))[-1]
    assert last.residuals[-1] < 0.1


def test_what_a_method_cannot_do_is_said(digits: Model) -> None:
    with pytest.raises(UsageError, match="method=RePaint: expected one of"):
        list(making(digits, wish(task="superresolution", method="RePaint", hole=None)))
    with pytest.raises(ValueError, match="colour"):
        list(making(digits, wish(task="style", hole=None)))


def test_who_leaves_stops_the_work(digits: Model) -> None:
    before = threading.active_count()
    stages = making(digits, wish(calls=220))
    assert next(stages).level == 1
    stages.close()  # waits for the thread, which ends at the next level
    assert threading.active_count() == before


def test_the_curve_is_a_drawing() -> None:
    assert curve([], 5) == ""
    drawn = curve([1.0, 0.1, 0.0], 5)
    assert drawn.count(",") >= 3
    assert "after level 3 of 5: 0.0000" in drawn
    assert "<script" not in drawn
    assert "http" not in drawn


def test_pictures_of_the_package() -> None:
    for model in ("faces-64", "emoji-64", "digits-16", "some/folder"):
        pictures = wishes.shipped_pictures(model)
        assert len(pictures) >= 4
        assert all(name for name in pictures)  # a record may have no prompt: it is chosen by its key
        assert all(one.picture.width >= 16 for one in pictures.values())
        assert all(one.prompt in (name, "") for name, one in pictures.items())


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo.main(["--help"]) == 0
    assert "--model NAME" in capsys.readouterr().out
    for port in ("http", "0", "70000"):
        assert demo.main(["--port", port]) == 2
        assert capsys.readouterr().err == f"fcs-demo: --port={port}: expected 1 to 65535\n"
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert demo.main([]) == 2
    assert capsys.readouterr().err == "fcs-demo: expected gradio; pip install '.[demo]'\n"


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port={port}: expected one that is free on 127"):
            free_port("127.0.0.1", port)
    assert free_port("127.0.0.1", port) == port
    assert free_port("127.0.0.1", None) >= 7860
