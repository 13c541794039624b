"""Pictures of chosen records, small enough to be carried in a page."""

from __future__ import annotations

import base64
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from io import BufferedReader

from PIL import Image

from fcs.core.errors import StorageError
from fcs.shards.input.decode import MAX_PIXELS
from fcs.shards.input.members import scan
from fcs.shards.input.record_index import Entry, split
from fcs.shards.ledger.layout import tar_file
from fcs.tools.report.original_inputs import OriginalInputs
from fcs.tools.report.read import FinishedRun, Key

SIDE = 256  # pixels; larger pictures are made smaller
FINE = 128  # smaller ones than this lose nothing
QUALITY = 80
LOSSLESS_EFFORT = 20  # of 100
KEPT = 256  # encoded pictures that may come again
_FORMATS = ("PNG", "JPEG", "WEBP")
_COPY = "input."
_MOST_JSON = 1 << 20
Members = Mapping[str, tuple[int, int]]  # suffix to (offset, size)
Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Picture:
    """A picture in a page.

    Attributes:
        uri: with all its bytes.
        width, height: of what is in it, in pixels.
    """

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class EmbeddedPictures:
    """What there is to see of a record in one run.

    Attributes:
        given, mask, reference: before the run; None where there is no such picture.
        made: what the run made, by name; the result itself is called ``result``.
        prompt: of the record.
        missing: why what was before the run cannot be shown; "" where it can.
        model: that made it; "" where it did not.
    """

    given: Picture | None = None
    mask: Picture | None = None
    reference: Picture | None = None
    made: Mapping[str, Picture] = field(default_factory=dict)
    prompt: str = ""
    missing: str = ""
    model: str = ""


def look(run: FinishedRun, keys: Iterable[Key]) -> dict[Key, EmbeddedPictures]:
    """What a run has of each of these records; nothing of those that it has no row of.

    Raises:
        StorageError: OUT cannot be read, or a committed file is missing.
    """
    places = _places(run, set(keys))
    found: dict[Key, EmbeddedPictures] = {}
    with closing(OriginalInputs(run)) as inputs:
        for stem in sorted({stem for stem, _ in places}):
            with _tar(run, stem) as file:
                members, read = _members(file), _reader(file)
                inputs.learn(_shape(members, read))
                for key in [key for key in places if key[0] == stem]:
                    index, scored = places[key]
                    found[key] = _seen(inputs, key, index, scored, members.get(key[1], {}), read)
    return found


def _places(run: FinishedRun, wanted: set[Key]) -> dict[Key, tuple[int, bool]]:
    """Place in its shard, and whether it was scored against a reference, by record; of two of one name the good one."""
    psnr = [name for name in ("psnr", "ssim") if name in run.rows.column_names]
    rows = run.rows.select(["shard", "key", "index", "status", *psnr]).to_pylist()
    rows.sort(key=lambda row: row["status"] == "ok")
    rows = [row for row in rows if (row["shard"], row["key"]) in wanted]
    return {(row["shard"], row["key"]): (row["index"], any(row[name] is not None for name in psnr)) for row in rows}


def _seen(inputs: OriginalInputs, key: Key, index: int, scored: bool, members: Members, read: Read) -> EmbeddedPictures:
    copies = {name.removeprefix(_COPY): place for name, place in members.items() if name.startswith(_COPY)}
    if copies:
        before = inputs.from_copies(key[0], Entry(index, key[1], copies), read, scored)
    else:
        before = inputs.from_shard(key[0], index, scored)
    made = {name: picture for name, place in _made(members).items() if (picture := _opened(read(*place))) is not None}
    return EmbeddedPictures(
        _small(before.given),
        _small(before.mask),
        _small(before.reference),
        {name: small for name, picture in made.items() if (small := _small(picture)) is not None},
        before.prompt,
        before.missing,
        _model(members, read),
    )


def _made(members: Members) -> dict[str, tuple[int, int]]:
    """The pictures that a task made: the result first."""
    pictures = {name: place for name, place in members.items() if name.rpartition(".")[2] in ("png", "jpg", "webp")}
    made = {name: place for name, place in pictures.items() if not name.startswith(_COPY)}
    named = {name.rpartition(".")[0] or "result": place for name, place in made.items()}
    return dict(sorted(named.items(), key=lambda item: item[0] != "result"))


def _model(members: Members, read: Read) -> str:
    """The model that a result's JSON names."""
    place = members.get("json")
    if place is None or place[1] > _MOST_JSON:
        return ""
    try:
        return str(json.loads(read(*place))["fcs"]["model"])
    except (ValueError, KeyError, TypeError):
        return ""


def _shape(members: Mapping[str, Members], read: Read) -> tuple[int, int, int] | None:
    """``(C, H, W)`` of a shard's first result; None where it has none."""
    for own in members.values():
        place = _made(own).get("result")
        picture = None if place is None else _opened(read(*place))
        if picture is not None:
            return 1 if picture.mode == "L" else 3, picture.height, picture.width
    return None


@contextmanager
def _tar(run: FinishedRun, stem: str) -> Iterator[BufferedReader]:
    try:
        with run.out.reading(tar_file(stem)) as file:
            yield file
    except FileNotFoundError as error:
        raise StorageError(f"{run.out.where(tar_file(stem))}: missing, though it was committed") from error


def _members(file: BufferedReader) -> dict[str, dict[str, tuple[int, int]]]:
    """Places of the members by key and suffix."""
    found: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for member in scan(file)[0]:
        key, suffix = split(member.name)
        if member.error is None:
            found[key][suffix] = member.offset, member.size
    return found


def _reader(file: BufferedReader) -> Read:
    def read(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    return read


def _opened(data: bytes) -> Image.Image | None:
    """A picture of one of our formats; None for what is none, or is too large."""
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        if picture.width * picture.height > MAX_PIXELS:
            return None
        picture.load()
    except Exception:  # Pillow's plugins raise whatever their parsers stumble over
        return None
    return picture if picture.mode == "L" else picture.convert("RGB")


def _small(picture: Image.Image | None) -> Picture | None:
    """As it goes into a page."""
    return None if picture is None else _encoded(picture.mode, picture.size, picture.tobytes())


@lru_cache(KEPT)
def _encoded(mode: str, size: tuple[int, int], data: bytes) -> Picture:
    """Runs have most of their inputs in common, and encoding takes the longest of all."""
    picture = Image.frombytes(mode, size, data).convert("RGB")
    if max(size) > SIDE:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if max(size) <= FINE:
        picture.save(buffer, "webp", lossless=True, quality=LOSSLESS_EFFORT, method=0)
    else:
        picture.save(buffer, "webp", quality=QUALITY)
    return Picture(f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}", *size)
