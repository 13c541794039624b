"""The output tar of a shard: results, copies of inputs and the JSON of each record."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader

from fcs.core.errors import StorageError
from fcs.shards.input.record_index import split_name
from fcs.shards.input.tar_members import scan_members
from fcs.shards.ledger.layout import tar_file
from fcs.tools.report.embedded_picture import open_picture
from fcs.tools.report.finished_run import FinishedRun

_COPY = "input."  # begins the suffix of a copied input
_MOST_JSON = 1 << 20  # bytes
_PICTURES = ("png", "jpg", "webp")
Place = tuple[int, int]  # offset and size in the tar


class OutputTar:
    """An open output tar.

    Args:
        file: the tar.
    """

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._members: dict[str, dict[str, Place]] = defaultdict(dict)
        for member in scan_members(file)[0]:
            key, suffix = split_name(member.name)
            if member.error is None:
                self._members[key][suffix] = member.offset, member.size

    @classmethod
    @contextmanager
    def opened(cls, run: FinishedRun, stem: str) -> Iterator[OutputTar]:
        """The output tar of one of a run's shards.

        Raises:
            StorageError: it is missing, though it was committed.
        """
        try:
            with run.out.reading(tar_file(stem)) as file:
                yield cls(file)
        except FileNotFoundError as error:
            raise StorageError(f"{run.out.where(tar_file(stem))}: missing, though it was committed") from error

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of a member."""
        self._file.seek(offset)
        return self._file.read(size)

    def input_copies(self, key: str) -> dict[str, Place]:
        """The copies of a record's input members, by suffix."""
        members = self._members.get(key, {})
        return {name.removeprefix(_COPY): place for name, place in members.items() if name.startswith(_COPY)}

    def results(self, key: str) -> dict[str, Place]:
        """The pictures that were generated for a record, by name; the first is called ``result``."""
        return _results(self._members.get(key, {}))

    def model(self, key: str) -> str:
        """The model that a record's JSON names; "" where there is none."""
        place = self._members.get(key, {}).get("json")
        if place is None or place[1] > _MOST_JSON:
            return ""
        try:
            return str(json.loads(self.read(*place))["fcs"]["model"])
        except (ValueError, KeyError, TypeError):
            return ""

    def result_shape(self, key: str) -> tuple[int, int, int] | None:
        """``(C, H, W)`` of a record's result, of the first one where it has none; None where there is none at all."""
        for members in (self._members.get(key, {}), *self._members.values()):
            place = _results(members).get("result")
            picture = None if place is None else open_picture(self.read(*place))
            if picture is not None:
                return 1 if picture.mode == "L" else 3, picture.height, picture.width
        return None


def _results(members: Mapping[str, Place]) -> dict[str, Place]:
    pictures = {name: place for name, place in members.items() if name.rpartition(".")[2] in _PICTURES}
    results = {name: place for name, place in pictures.items() if not name.startswith(_COPY)}
    named = {name.rpartition(".")[0] or "result": place for name, place in results.items()}
    return dict(sorted(named.items(), key=lambda item: item[0] != "result"))
