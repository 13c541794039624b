"""The first records of a run's shards, opened beforehand: what would fail, and which setting mends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fcs.core.records import Record
from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import Source, local_path

SHARDS, RECORDS = 8, 3  # of so many shards, spread over the run, so many records are opened
MENDS = {
    "image_size": "data.resize=crop or data.resize=pad brings pictures to this size, and with data.resize=crop_to_mask "
    "inpainting takes pictures of any size; of full-size pictures "
    "superresolution and restoration make the small one themselves with task.degrade=true",
    "mask_size": "a mask must have its picture's size",
    "missing_mask": "this task needs KEY.mask.png; fcs-pack --mask box makes masks, and task=superres, task=style or "
    "task=restore need none",
    "missing_measurement": "task.measurement=npy needs KEY.npy; fcs-pack --measurements makes such shards",
    "missing_image": "a record needs KEY.png, .jpg, .jpeg or .webp; fcs-pack makes such shards",
}


def failing_first_records(sources: Sequence[Source], form: Format) -> list[str]:
    """A line for each way in which the first records of local shards fail; nothing where all can be read.

    Args:
        sources: the run's shards; compressed and remote ones, which would have to be copied, are passed over.
        form: what a record must look like.

    Raises:
        StorageError: a shard cannot be read.
    """
    near = [source for source in sources if local_path(source.url) and source.url.lower().endswith(".tar")]
    opened: list[Record] = []
    for source in near[:: max(1, -(-len(near) // SHARDS))]:
        with ShardReader(source, form) as reader:
            opened += [reader.record(number) for number in range(min(RECORDS, len(reader)))]
    errors = [record.error for record in opened if record.error]
    counts = Counter(error.partition(":")[0] for error in errors)
    return [_line(code, count, len(opened), errors) for code, count in sorted(counts.items())]


def _line(code: str, count: int, opened: int, errors: Sequence[str]) -> str:
    example = next(error for error in errors if error.partition(":")[0] == code)
    mend = f"; {MENDS[code]}" if code in MENDS else ""
    return f"{count} of the first {opened} records opened would fail: {example}{mend}"
