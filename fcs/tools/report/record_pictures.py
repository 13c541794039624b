"""The pictures of selected records: input, mask and reference, and what the run generated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from fcs.shards.input.record_index import Entry
from fcs.tools.report.embedded_picture import EmbeddedPicture, embedded, open_picture
from fcs.tools.report.finished_run import FinishedRun, Key
from fcs.tools.report.original_inputs import OriginalInputs
from fcs.tools.report.output_tar import OutputTar


@dataclass(frozen=True)
class RecordPictures:
    """What can be shown of a record in one run.

    Attributes:
        given, mask, reference: from before the run; None where there is no such picture.
        results: what the run generated, by name; the result itself is called ``result``.
        prompt: of the record.
        missing: why there are no pictures from before the run; "" where there are.
        model: that generated the result; "" where there is none.
    """

    given: EmbeddedPicture | None = None
    mask: EmbeddedPicture | None = None
    reference: EmbeddedPicture | None = None
    results: Mapping[str, EmbeddedPicture] = field(default_factory=dict)
    prompt: str = ""
    missing: str = ""
    model: str = ""


def read_pictures(run: FinishedRun, keys: Iterable[Key]) -> dict[Key, RecordPictures]:
    """The pictures of these records, of those that the run has a row of.

    Raises:
        StorageError: OUT cannot be read, or a committed file is missing.
    """
    places = _places(run, set(keys))
    found: dict[Key, RecordPictures] = {}
    with closing(OriginalInputs(run)) as inputs:
        for stem in sorted({stem for stem, _ in places}):
            with OutputTar.opened(run, stem) as tar:
                for key in [key for key in places if key[0] == stem]:
                    found[key] = _pictures(inputs, tar, key, *places[key])
    return found


def _places(run: FinishedRun, wanted: set[Key]) -> dict[Key, tuple[int, bool]]:
    """Place in its shard, and whether it has a reference, by record; of two with one key the successful one."""
    compared = [name for name in ("psnr", "ssim") if name in run.rows.column_names]
    rows = run.rows.select(["shard", "key", "index", "status", *compared]).to_pylist()
    rows.sort(key=lambda row: row["status"] == "ok")
    rows = [row for row in rows if (row["shard"], row["key"]) in wanted]
    return {(row["shard"], row["key"]): (row["index"], any(row[name] is not None for name in compared)) for row in rows}


def _pictures(inputs: OriginalInputs, tar: OutputTar, key: Key, index: int, scored: bool) -> RecordPictures:
    stem, name = key
    if inputs.needs_shape:
        inputs.set_result_shape(tar.result_shape(name))
    copies = tar.input_copies(name)
    if copies:
        original = inputs.from_copies(stem, Entry(index, name, copies), tar.read, scored)
    else:
        original = inputs.from_shard(stem, index, scored)
    results = {what: embedded(open_picture(tar.read(*place))) for what, place in tar.results(name).items()}
    return RecordPictures(
        embedded(original.given),
        embedded(original.mask),
        embedded(original.reference),
        {what: picture for what, picture in results.items() if picture is not None},
        original.prompt,
        original.missing,
        tar.model(name),
    )
