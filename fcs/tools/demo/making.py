"""A wish made, told of level by level."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fcs import api
from fcs.core.operators.downsample import Downsample
from fcs.models.base import Model
from fcs.samplers.base import Sampler
from fcs.tasks.base import Task
from fcs.tasks.inpaint import Inpaint
from fcs.tasks.restore import Restore
from fcs.tasks.style import Style
from fcs.tools.demo.methods import levels_within, method
from fcs.tools.demo.views import View, view_of
from fcs.tools.demo.wishes import SCALE, STYLE, SUPERRES, Wish

GUIDANCE = {STYLE: 2.0}  # 1 for the others


@dataclass(frozen=True)
class Stage:
    """How far a wish is.

    Attributes:
        picture: x_0 at the level, or the result.
        level: levels left behind.
        levels: of the way.
        residuals: rms of the constraint's error after each, in the picture; falling is good.
        seconds: since the beginning.
        calls: denoiser calls of the whole way.
        done: whether this is the result.
    """

    picture: Image.Image
    level: int
    levels: int
    residuals: tuple[float, ...]
    seconds: float
    calls: int
    done: bool = False


class Left(Exception):
    """Nobody waits for the result any more."""


def making(model: Model, wish: Wish, clip: str = "emoji-64") -> Iterator[Stage]:
    """Make a wish in a thread of its own; each level as it is left, the result last.

    Args:
        model: the pretrained model.
        wish: what is wanted.
        clip: whose features are a style.

    Raises:
        ValueError: what the model, the task or the method cannot do.
    """
    task, kind, given = task_of(wish, clip)
    sampler = method(kind, wish.method)
    levels = levels_within(sampler, wish.calls)
    view = view_of(wish, task, given, model)
    told: queue.Queue[Stage | BaseException] = queue.Queue()
    left = threading.Event()
    work = _Work(model, wish, task, given, sampler, levels, view)
    thread = threading.Thread(target=work.run, args=(told.put, left), daemon=True)
    thread.start()
    try:
        while True:
            stage = told.get()
            if isinstance(stage, BaseException):
                raise stage
            yield stage
            if stage.done:
                return
    finally:
        left.set()
        thread.join()


def task_of(wish: Wish, clip: str) -> tuple[Task, str, Image.Image]:
    """The task, the kind of methods for it, and the picture that it is given."""
    if wish.task == SUPERRES:
        small = wish.picture.resize(
            (wish.picture.width // SCALE, wish.picture.height // SCALE), Image.Resampling.BICUBIC
        )
        return Restore(Downsample(SCALE), error="vae_newton", paste=True), "measured", small
    if wish.task == STYLE:
        return Style(clip), "style", wish.picture
    return Inpaint(), "known", wish.picture


@dataclass(frozen=True)
class _Work:
    model: Model
    wish: Wish
    task: Task
    given: Image.Image
    sampler: Sampler
    levels: int
    view: View

    def run(self, tell: Callable[[Stage | BaseException], None], left: threading.Event) -> None:
        residuals: list[float] = []
        began, calls = time.perf_counter(), self.task.calls(self.sampler, self.levels)

        def stage(picture: Image.Image, level: int, done: bool = False) -> Stage:
            return Stage(picture, level, self.levels, tuple(residuals), time.perf_counter() - began, calls, done)

        def callback(level: int, pictures: list[Image.Image]) -> None:
            if left.is_set():
                raise Left
            residuals.append(self.view.residual(pictures))
            tell(stage(self.view.picture(pictures), level + 1))

        try:
            tell(stage(self._made(callback), self.levels, done=True))
        except Left:
            pass
        except Exception as error:  # told where the page shows it, whatever it is
            tell(error)

    def _made(self, callback: Callable[[int, list[Image.Image]], None]) -> Image.Image:
        result = api.apply(
            self.model,
            self.task,
            self.given,
            self.wish.hole if self.task.needs_mask else None,
            self.wish.prompt,
            self.wish.seed,
            self.levels,
            self.sampler,
            guidance=GUIDANCE.get(self.wish.task, 1.0) if self.model.prompted else 1.0,
            progress=False,
            callback=callback,
            resize=self.view.resize,
        )
        picture: Image.Image = result.images[0]
        return picture


def kept_exactly(made: Image.Image, wish: Wish) -> bool:
    """Whether the pixels outside the hole are those of the given picture, byte by byte."""
    if wish.hole is None:
        return False
    kept = np.asarray(wish.hole) == 0
    return bool(np.array_equal(np.asarray(made)[kept], np.asarray(wish.picture)[kept]))


def title(wish: Wish) -> str:
    """A wish in a few words."""
    return f"{wish.task}, {wish.method}, {wish.calls} calls, seed {wish.seed}"
