"""What a run's records looked like before: from its input shards, or from the copies that it kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from jsonargparse import ArgumentParser
from PIL import Image

from fcs.core.errors import StorageError, UsageError
from fcs.core.images import to_pil
from fcs.core.records import Record, collate
from fcs.engine.config.schema import path_of
from fcs.models.base import Model
from fcs.shards.input.decode import Format, Resize, decode
from fcs.shards.input.reader import ShardReader
from fcs.shards.input.record_index import Entry
from fcs.shards.input.sources import resolve
from fcs.tasks.base import Task
from fcs.tools.report.read import FinishedRun

GONE = "the input shard is gone, or cannot be read from here"
CHANGED = "the input shard has changed since the run"
UNREAD = "the record cannot be read"
UNSIZED = "the run has no result that tells the size"
_DOTTED = re.compile(r"[^\W\d]\w*(\.\w+)+")  # what might name a class


@dataclass(frozen=True)
class Before:
    """A record as the task saw it.

    Attributes:
        given: what the task was given; what a mask hides is grey.
        mask: white = generate; None where the task has none.
        reference: what results are scored against; None where there is no truth.
        prompt: the record's, or the run's.
        missing: why there are no pictures; "" where there are.
    """

    given: Image.Image | None = None
    mask: Image.Image | None = None
    reference: Image.Image | None = None
    prompt: str = ""
    missing: str = ""


@dataclass(frozen=True)
class _Pictures:
    """As much of a model as a task must know to say what shape its inputs have."""

    picture_shape: tuple[int, int, int]


def task_of(settings: Mapping[str, Any]) -> Task | None:
    """A run's task; None where it is of another package, or takes something of one.

    No code is imported because a file in OUT names it.
    """
    values = [value for key, value in settings.items() if key == "task" or key.startswith("task.")]
    names = [value for value in values if isinstance(value, str) and _DOTTED.fullmatch(value)]
    if "task" not in settings or not names or not all(map(_is_ours, names)):
        return None
    tree = _tree(settings, "task")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Task, "task")
    try:
        return cast(Task, parser.instantiate(parser.parse_object({"task": tree})).task)
    except Exception:  # of another version, then; pictures are shown as they were read
        return None


class OriginalInputs:
    """Reads the records of a run as they were before it; one input shard is open at a time, so ask shard by shard."""

    def __init__(self, run: FinishedRun) -> None:
        self.settings = run.settings
        self.task = task_of(run.settings)
        self.sources = {shard["stem"]: shard for shard in run.pinned["shards"]}
        self.form: Format | None = None
        self._open: tuple[str, ShardReader | str] | None = None

    def learn(self, shape: tuple[int, int, int] | None) -> None:
        """Be told ``(C, H, W)`` of one of the run's results, without which no record can be read."""
        if self.form is None and shape is not None:
            self.form = self._form(shape)

    def close(self) -> None:
        """Close what is open."""
        if self._open is not None and isinstance(self._open[1], ShardReader):
            self._open[1].close()
        self._open = None

    def from_shard(self, stem: str, index: int, scored: bool) -> Before:
        """A record by its place in its input shard.

        Args:
            stem: the shard's name in the run.
            index: its place.
            scored: whether its result was compared with a reference.
        """
        reader = self._reader(stem)
        if isinstance(reader, str):
            return Before(missing=reader)
        try:
            return self._before(stem, reader.record(index), scored)
        except (IndexError, StorageError):
            return Before(missing=CHANGED)

    def from_copies(self, stem: str, entry: Entry, read: Callable[[int, int], bytes], scored: bool) -> Before:
        """A record by the copies of its members in the output; the rest as ``from_shard``."""
        return (
            Before(missing=UNSIZED) if self.form is None else self._before(stem, decode(entry, read, self.form), scored)
        )

    def _before(self, stem: str, record: Record, scored: bool) -> Before:
        if record.error is not None or self.form is None:
            return Before(missing=UNREAD)
        shape = (self.form.channels, self.form.height, self.form.width)
        batch = collate(stem, 0, [record], shape, 0, str(self.settings.get("data.prompt") or ""))
        mask = None if record.mask is None else to_pil(record.mask)
        if self.task is None:
            image = to_pil(batch.images[0])
            given = image if mask is None else Image.composite(Image.new(image.mode, image.size, "grey"), image, mask)
            return Before(given, mask, image if scored else None, batch.prompts[0])
        reference = self.task.reference(batch)
        return Before(
            to_pil(self.task.given(batch)[0]),
            mask if self.task.needs_mask else None,
            None if reference is None else to_pil(reference[0]),
            batch.prompts[0],
        )

    def _form(self, shape: tuple[int, int, int]) -> Format:
        task = self.task
        channels, height, width = shape if task is None else task.input_shape(cast(Model, _Pictures(shape)))
        resize: Resize = self.settings.get("data.resize") or "none"
        captions = bool(self.settings.get("data.captions", True))
        return Format(channels, height, width, resize, task is not None and task.needs_mask, captions=captions)

    def _reader(self, stem: str) -> ShardReader | str:
        if self._open is None or self._open[0] != stem:
            self.close()
            self._open = stem, self._opened(stem)
        return self._open[1]

    def _opened(self, stem: str) -> ShardReader | str:
        if self.form is None:
            return UNSIZED
        shard = self.sources[stem]
        try:
            (source,) = resolve([str(shard["url"])])
            if (source.size, source.mtime) != (shard["size"], shard["mtime"]):
                return CHANGED
            return ShardReader(source, self.form)
        except (UsageError, StorageError, OSError):
            return GONE


def _is_ours(name: str) -> bool:
    return name.startswith("fcs.")


def _tree(settings: Mapping[str, Any], key: str) -> Any:
    """A key of the flat settings with what stands below it."""
    value = settings[key]
    if not (isinstance(value, str) and _DOTTED.fullmatch(value)):
        return value
    inner = [name.removeprefix(f"{key}.") for name in settings if name.startswith(f"{key}.")]
    arguments = {name: _tree(settings, f"{key}.{name}") for name in inner if "." not in name}
    return {"class_path": path_of(value), "init_args": arguments}
