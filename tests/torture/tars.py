"""Good tars, and what is where in them."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 32
BLOCK = 512


@dataclass(frozen=True)
class Member:
    """A member of a good tar: its header begins at ``start``, its ``data`` at ``place``."""

    key: str
    suffix: str
    start: int
    place: int
    data: bytes

    @property
    def end(self) -> int:
        """Where its data ends; padding follows."""
        return self.place + len(self.data)


@dataclass(frozen=True)
class Tar:
    """A good tar and what is where in it."""

    data: bytes
    members: tuple[Member, ...]


def picture(number: int, form: str) -> bytes:
    """A picture of noise, unlike any other number's."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert("RGB") if form == "webp" else image).save(buffer, {"jpg": "jpeg"}.get(form, form))
    return buffer.getvalue()


def corpus() -> list[Tar]:
    """Three tars of six records: in each format that tars have, with short and long names."""
    formats = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
    return [_tar(form, 100 * number) for number, form in enumerate(formats)]


def _tar(form: int, first: int) -> Tar:
    buffer, members = io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for place in range(6):
            long = "" if form == tarfile.USTAR_FORMAT or place % 3 != 1 else "folder/" * 30
            key, number = f"{long}k{place}", first + place
            parts = {("png", "jpg", "webp")[place % 3]: picture(number, ("png", "jpg", "webp")[place % 3])}
            parts |= {"mask.png": picture(number + 50, "png"), "txt": f"prompt of {key}".encode()}
            parts |= {"json": b'{"number": %d}' % number} if place % 2 else {}
            for suffix, data in parts.items():
                info, start = tarfile.TarInfo(f"{key}.{suffix}"), tar.offset
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
                members.append(Member(key, suffix, start, tar.offset - -(-len(data) // BLOCK) * BLOCK, data))
    return Tar(buffer.getvalue()[: tar.offset], tuple(members))
