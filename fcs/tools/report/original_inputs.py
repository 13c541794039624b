"""The records of a run as they were before it: from its input shards, or from the copies in its output."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import cast

from PIL import Image

from fcs.core.collate import collate
from fcs.core.errors import StorageError, UsageError
from fcs.core.images import to_pil
from fcs.core.mask_edits import MaskEdits
from fcs.core.records import Record
from fcs.models.base import Model
from fcs.shards.input.decode import Format, decode
from fcs.shards.input.fit import Resize
from fcs.shards.input.mask_source import MaskSource, mask_source
from fcs.shards.input.record_index import Entry, Keys
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import resolve
from fcs.tools.report.finished_run import FinishedRun
from fcs.tools.report.run_task import run_task

OWN_SIZES = ("pad", "bucket", "crop_to_mask")  # of ``data.resize``: with these each result has a size of its own
GONE = "the input shard is gone, or cannot be read from here"
CHANGED = "the input shard has changed since the run"
UNREAD = "the record cannot be read"
UNSIZED = "the run has no result that tells the size"


@dataclass(frozen=True)
class OriginalRecord:
    """A record as the task saw it.

    Attributes:
        given: what the task was given; the part that a mask hides is grey.
        mask: white = generate; None where the task has none.
        reference: what results are scored against; None where there is nothing.
        prompt: the record's, or the run's.
        missing: why there are no pictures; "" where there are.
    """

    given: Image.Image | None = None
    mask: Image.Image | None = None
    reference: Image.Image | None = None
    prompt: str = ""
    missing: str = ""


@dataclass(frozen=True)
class _ShapeOnlyModel:
    """As much of a model as a task needs to tell the shape of its inputs."""

    picture_shape: tuple[int, int, int]


class OriginalInputs:
    """Reads records as they were before the run. One input shard is open at a time, so ask for them shard by shard."""

    def __init__(self, run: FinishedRun) -> None:
        self.settings = run.settings
        self.task = run_task(run.settings)
        self.sources = {shard["stem"]: shard for shard in run.pinned["shards"]}
        self.form: Format | None = None
        self._open: tuple[str, ShardReader | str] | None = None

    @property
    def needs_shape(self) -> bool:
        """Whether the shape of the next record's result must be set before it is read."""
        return self.form is None or self.settings.get("data.resize") in OWN_SIZES

    def set_result_shape(self, shape: tuple[int, int, int] | None) -> None:
        """Set ``(C, H, W)`` of the run's results, or of the next record's, without which it cannot be read."""
        if shape is not None:
            self.form = self._form(shape)

    def close(self) -> None:
        """Close the input shard that is open."""
        if self._open is not None and isinstance(self._open[1], ShardReader):
            self._open[1].close()
        self._open = None

    def from_shard(self, stem: str, index: int, scored: bool) -> OriginalRecord:
        """A record by its place in its input shard.

        Args:
            stem: the shard's name in the run.
            index: its place.
            scored: whether its result was scored against a reference.
        """
        reader = self._reader(stem)
        if isinstance(reader, str):
            return OriginalRecord(missing=reader)
        try:
            return self._original(stem, reader.record(index), scored)
        except (IndexError, StorageError):
            return OriginalRecord(missing=CHANGED)

    def from_copies(self, stem: str, entry: Entry, read: Callable[[int, int], bytes], scored: bool) -> OriginalRecord:
        """A record by the copies of its members in the output; the rest as ``from_shard``."""
        if self.form is None:
            return OriginalRecord(missing=UNSIZED)
        return self._original(stem, decode(entry, read, self.form), scored)

    def _original(self, stem: str, record: Record, scored: bool) -> OriginalRecord:
        if record.error is not None or self.form is None:
            return OriginalRecord(missing=UNREAD)
        shape = (self.form.channels, self.form.height, self.form.width)
        batch = collate(stem, 0, [record], shape, 0, str(self.settings.get("data.prompt") or ""))
        mask = None if record.mask is None else to_pil(record.mask)
        if self.task is None:
            image = to_pil(batch.images[0])
            given = image if mask is None else Image.composite(Image.new(image.mode, image.size, "grey"), image, mask)
            return OriginalRecord(given, mask, image if scored else None, batch.prompts[0])
        reference = self.task.reference(batch)
        return OriginalRecord(
            to_pil(self.task.given(batch)[0]),
            mask if self.task.needs_mask else None,
            None if reference is None else to_pil(reference[0]),
            batch.prompts[0],
        )

    def _form(self, shape: tuple[int, int, int]) -> Format:
        task = self.task
        model = cast(Model, _ShapeOnlyModel(shape))
        channels, height, width = shape if task is None else task.input_shape(model)
        measurement = None if task is None else task.measurement_shape(model)
        resize: Resize = self.settings.get("data.resize") or "none"
        resize = "crop" if resize in OWN_SIZES else resize  # to the result's size, of whose shape it is
        captions = bool(self.settings.get("data.captions", True))
        needs, reads = task is not None and task.needs_mask, task is None or task.reads_mask
        keys: Keys = self.settings.get("data.keys") or "first_dot"
        mask, edits = self._masks()
        needs = needs and (mask is not None or "data.mask" not in self.settings)
        return Format(channels, height, width, resize, needs, False, captions, reads, measurement, keys, mask, edits)

    def _masks(self) -> tuple[MaskSource, MaskEdits]:
        """Where the run had its masks from, as far as that is still there, and what it did to them."""
        names = (field.name for field in fields(MaskEdits))
        edits = MaskEdits(**{name: self.settings[f"mask.{name}"] for name in names if f"mask.{name}" in self.settings})
        with suppress(UsageError):  # the file has gone since
            return mask_source(self.settings.get("data.mask")), edits
        return None, edits

    def _reader(self, stem: str) -> ShardReader | str:
        if self._open is None or self._open[0] != stem:
            self.close()
            self._open = stem, self._opened(stem)
        reader = self._open[1]
        if isinstance(reader, ShardReader) and self.form is not None:
            reader.form = self.form
        return reader

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
