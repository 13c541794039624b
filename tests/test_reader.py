"""Input shards: whatever they hold becomes rows, and whole records survive any damage around them."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcs.core.errors import StorageError, UsageError
from fcs.core.records import Record
from fcs.shards.input import record_index
from fcs.shards.input.decode import Format
from fcs.shards.input.reader import ShardReader
from fcs.shards.input.sources import Source, counts, resolve

Members = Iterable[tuple[str, bytes]]
FORM = Format(1, 4, 4)


def picture(
    value: object = 7, size: tuple[int, int] = (4, 4), mode: str = "L", kind: str = "PNG", **options: object
) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, value).save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def pixels(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def tar(members: Members, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def records(
    folder: Path, data: bytes | Members, form: Format = FORM, name: str = "a.tar", **options: int
) -> list[Record]:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else tar(data))
    with ShardReader(resolve(str(path))[0], form, **options) as reader:
        return [reader.record(i) for i in range(len(reader))]


def codes(found: list[Record]) -> list[tuple[str | None, str | None]]:
    return [(r.key, r.error and r.error.partition(":")[0]) for r in found]


def one(folder: Path, members: dict[str, bytes], form: Format = FORM) -> Record:
    (found,) = records(folder, [(f"k.{suffix}", data) for suffix, data in members.items()], form)
    return found


def array(record: Record) -> np.ndarray:
    assert record.error is None, record.error
    assert record.image is not None
    return record.image.numpy()


# The tar


def test_truncation_at_every_byte_keeps_whole_records(tmp_path: Path) -> None:
    members = [(f"{key}.{suffix}", picture(i)) for i, key in enumerate("abc") for suffix in ("mask.png", "png")]
    data = tar(members)
    ends = []  # where a record's required members are whole
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        ends = [info.offset_data + info.size for info in file if not info.name.endswith("mask.png")]
    marker = -(-ends[-1] // 512) * 512 + 1024
    form = Format(1, 4, 4, needs_mask=True)
    for cut in range(marker + 2):
        index = record_index.index(io.BytesIO(data[:cut]), form.required)
        whole = sum(end <= cut for end in ends)
        assert [entry.key for entry in index.entries] == list("abc")[:whole], cut
        assert (index.truncated is not None) == (cut < marker), cut
    for cut in (0, ends[0], ends[1] - 1, marker - 1):
        found = records(tmp_path, data[:cut], form)
        assert all(r.error is None for r in found[:-1])
        assert found[-1].key is None
        assert str(found[-1].error).startswith("truncated: ")
        assert found[-1].index == len(found) - 1


def test_last_record_before_the_break_may_lack_optional_members() -> None:
    data = tar([("a.png", b"x"), ("a.txt", b"y" * 600)])
    index = record_index.index(io.BytesIO(data[:1700]))
    assert [sorted(entry.members) for entry in index.entries] == [["png"]]
    assert index.truncated
    assert not record_index.index(io.BytesIO(data[:1700]), ("image", "mask")).entries


@pytest.mark.parametrize("position", range(0, 512, 7))
def test_a_damaged_header_in_the_middle_is_a_named_break(position: int) -> None:
    data = bytearray(tar([("a.png", b"x"), ("b.png", b"y"), ("c.png", b"z")]))
    data[1024 + position] ^= 0x55
    index = record_index.index(io.BytesIO(bytes(data)))
    assert [entry.key for entry in index.entries] == ["a"]
    assert index.truncated == "damaged header at byte 1024"


def test_flipped_bytes_never_raise() -> None:
    long = "d" * 120 + "/" + "k" * 120
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        clean = tar([("a.png", b"x"), (long + ".png", b"y"), ("c.png", b"z")], format)
        assert [entry.key for entry in record_index.index(io.BytesIO(clean)).entries] == ["a", long, "c"]
        rng = np.random.default_rng(0)
        for _ in range(300):
            data = bytearray(clean)
            for place in rng.integers(0, 6000, 3):
                data[place] = rng.integers(256)
            assert len(record_index.index(io.BytesIO(bytes(data)))) <= 4


def checked(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize("size", [b"77777777777\0", b"\x80" + b"\x7f" * 11, b"\xff" * 12])
@pytest.mark.parametrize("kind", [b"0", b"x", b"L", b"S", b"?"])
def test_sizes_are_not_believed(size: bytes, kind: bytes) -> None:
    header = bytearray(tar([("b.png", b"y")])[:512])
    header[124:136], header[156:157] = size, kind
    data = tar([("a.png", b"x")])[:1024] + checked(header) + bytes(4096)
    index = record_index.index(io.BytesIO(data))
    assert index.entries[0].error is None
    if kind == b"S":  # a sparse file has its size elsewhere
        assert index.truncated or str(index.entries[1].error).startswith("bad_member")
    else:
        assert index.truncated
        assert len(index.entries) == 1


def test_endings() -> None:
    data = tar([("a.png", b"x")])
    assert record_index.index(io.BytesIO(data)).truncated is None
    assert record_index.index(io.BytesIO(data[:2048])).truncated is None
    assert "end marker" in str(record_index.index(io.BytesIO(data[:1536])).truncated)
    assert "after the end marker" in str(record_index.index(io.BytesIO(data + tar([("b.png", b"y")]))).truncated)
    assert record_index.index(io.BytesIO(b"not a tar at all" * 100)).truncated
    assert len(record_index.index(io.BytesIO(b""))) == 1
    assert len(record_index.index(io.BytesIO(bytes(1024)))) == 0


def test_keys(tmp_path: Path) -> None:
    names = ["/abs", "../up", "a/../b", "a\\..\\b/c", "", "x/", "new\nline", "k" * 600]
    found = records(tmp_path, [(f"{name}.png", picture()) for name in names])
    assert [code for _, code in codes(found)] == ["bad_key"] * len(names)
    assert all(r.image is None and r.key is not None and len(r.key) <= 512 for r in found)
    found = records(tmp_path, [("./a.png", picture()), ("././d/b.v1/c.PNG", picture())])
    assert codes(found) == [("a", None), ("d/b.v1/c", None)]


def test_a_key_that_is_no_utf8_fails_and_can_be_stored(tmp_path: Path) -> None:
    data = bytearray(tar([("kx.png", picture())], tarfile.USTAR_FORMAT))
    data[1] = 0xFF
    data[:512] = checked(data[:512])
    (found,) = records(tmp_path, bytes(data))
    assert codes([found])[0][1] == "bad_key"
    assert found.key is not None
    assert found.key.encode()


def test_the_second_of_a_key_fails_and_the_first_stays(tmp_path: Path) -> None:
    one, two = picture(1), picture(2)
    found = records(tmp_path, [("a.png", one), ("b.png", one), ("a.json", b"{}"), ("a.png", two), ("./a.jpg", two)])
    assert codes(found) == [("a", None), ("b", None), ("a", "duplicate_key"), ("a", "duplicate_key")]
    assert array(found[0])[0, 0, 0] == 1
    found = records(tmp_path, [("a.png", one), ("a.png", two)])
    assert codes(found) == [("a", None), ("a", "duplicate_key")]


def test_members_apart_fail_their_record_once(tmp_path: Path) -> None:
    found = records(tmp_path, [("a.json", b"{}"), ("b.png", picture()), ("a.png", picture()), ("c.png", picture())])
    assert codes(found) == [("a", "not_adjacent"), ("b", None), ("c", None)]


def test_dotted_names_and_foreign_members_are_not_ours(tmp_path: Path) -> None:
    bomb = b"cos\nsystem\n(S'touch pwned'\ntR."
    foreign = ["pyd", "pth", "pkl", "cls", "v1.png", "mask.jpg", "png.gz"]
    members = [
        ("a.json", b"{}"),
        *((f"a.{suffix}", bomb) for suffix in foreign),
        ("a.png", picture()),
        ("README", b""),
    ]
    (found,) = records(tmp_path, members, Format(1, 4, 4, keep_members=True))
    assert found.error is None
    assert sorted(found.members) == ["json", "png"]


def test_links_and_devices_are_named_and_folders_skipped(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for number, kind in enumerate(kinds):
            info = tarfile.TarInfo(f"a{number}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
        info = tarfile.TarInfo("b.png")
        info.size = len(picture())
        file.addfile(info, io.BytesIO(picture()))
    found = codes(records(tmp_path, buffer.getvalue()))
    assert found == [*((f"a{number}", "bad_member") for number in (0, 1, 3, 4)), ("b", None)]


# The pictures


def test_formats_and_suffixes(tmp_path: Path) -> None:
    for suffix, kind in (
        ("png", "PNG"),
        ("JPG", "JPEG"),
        ("jpeg", "JPEG"),
        ("WebP", "WEBP"),
        ("png", "JPEG"),
    ):
        assert abs(int(array(one(tmp_path, {suffix: picture(100, kind=kind)}))[0, 0, 0]) - 100) <= 2
    for kind in ("GIF", "BMP", "TIFF", "PPM"):
        assert codes([one(tmp_path, {"png": picture(kind=kind)})]) == [("k", "bad_image")]


def test_channels(tmp_path: Path) -> None:
    colour = {"png": picture((255, 0, 0), mode="RGB")}
    assert array(one(tmp_path, colour, Format(3, 4, 4)))[:, 0, 0].tolist() == [255, 0, 0]
    assert array(one(tmp_path, colour)).shape == (1, 4, 4)
    grey = array(one(tmp_path, {"png": picture(9)}, Format(3, 4, 4)))
    assert grey.shape == (3, 4, 4)
    assert (grey == 9).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        upright = np.zeros((4, 4), np.uint8)
        upright[0, 3] = 255  # top right
        stored = {1: (0, 3), 2: (0, 0), 3: (3, 0), 4: (3, 3), 5: (3, 0), 6: (0, 0), 7: (0, 3), 8: (3, 3)}[orientation]
        raw = np.zeros((4, 4), np.uint8)
        raw[stored] = 255
        buffer = io.BytesIO()
        Image.fromarray(raw).save(buffer, "PNG", exif=exif)
        assert (array(one(tmp_path, {"png": buffer.getvalue()}))[0] == upright).all(), orientation


def test_alpha_lies_on_white(tmp_path: Path) -> None:
    form = Format(3, 4, 4)
    assert (array(one(tmp_path, {"png": picture((0, 0, 0, 0), mode="RGBA")}, form)) == 255).all()
    assert (array(one(tmp_path, {"png": picture((0, 0), mode="LA")}, form)) == 255).all()
    assert (array(one(tmp_path, {"png": picture(0, mode="P", transparency=0)}, form)) == 255).all()
    half = array(one(tmp_path, {"png": picture((0, 0, 0, 128), mode="RGBA")}, form))
    assert (half == 127).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    deep = np.full((4, 4), 25700, np.uint16)
    assert (array(one(tmp_path, {"png": pixels(deep)})) == 100).all()


def test_sizes_and_resize_policies(tmp_path: Path) -> None:
    wide = np.zeros((4, 8), np.uint8)
    wide[:, 2:6] = 200
    mask = np.zeros((4, 8), np.uint8)
    mask[:, 2:4] = 255
    members = {"png": pixels(wide), "mask.png": pixels(mask)}
    refused = one(tmp_path, members)
    assert refused.error is not None
    assert refused.error.startswith("image_size: 8x4, expected 4x4")
    crop = one(tmp_path, members, Format(1, 4, 4, "crop"))
    assert (array(crop) == 200).all()
    assert crop.mask is not None
    assert crop.mask[0, 0].tolist() == [255, 255, 0, 0]
    pad = one(tmp_path, members, Format(1, 8, 8, "pad"))
    assert pad.mask is not None
    assert (array(pad)[0, 2:6] == wide).all()
    assert array(pad)[0, [0, 1, 6, 7]].sum() == 0
    assert pad.mask[0, [0, 1, 6, 7]].sum() == 0
    assert (pad.mask[0, 2:6].numpy() == mask).all()
    for resize in ("crop", "pad"):
        for size in ((8, 4), (3, 9), (1, 1), (100, 1), (1, 100), (5, 7)):
            assert array(one(tmp_path, {"png": picture(size=size)}, Format(1, 4, 6, resize))).shape == (
                1,
                4,
                6,
            )  # type: ignore[arg-type]


def test_masks(tmp_path: Path) -> None:
    small = {"png": picture(), "mask.png": picture(size=(4, 3))}
    assert codes([one(tmp_path, small)]) == [("k", "mask_size")]
    form = Format(1, 4, 4, needs_mask=True)
    assert codes([one(tmp_path, {"png": picture()}, form)]) == [("k", "missing_mask")]
    assert codes([one(tmp_path, {"png": picture(), "mask.png": b"?"})]) == [("k", "bad_image")]
    soft = one(tmp_path, {"png": picture(), "mask.png": picture(128)}, form)
    assert soft.mask is not None
    assert soft.mask.dtype == torch.uint8
    assert soft.mask.unique().tolist() == [128]


def test_bombs_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (9000, 12000, 65535):
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        assert codes([one(tmp_path, {"png": bomb})]) == [("k", "too_large")]
    monkeypatch.setattr("fcs.shards.input.decode.MAX_IMAGE_BYTES", 10)
    assert codes([one(tmp_path, {"png": picture()})]) == [("k", "too_large")]


def test_broken_pictures_are_named(tmp_path: Path) -> None:
    noise = pixels(np.random.default_rng(0).integers(0, 255, (4, 4)).astype(np.uint8))
    for data in (b"", b"junk", noise[: len(noise) // 2], noise[:-30]):
        assert codes([one(tmp_path, {"png": data})]) == [("k", "bad_image")]
    assert codes([one(tmp_path, {"txt": b"x"})]) == [("k", "missing_image")]


def test_what_is_no_picture_is_named_the_same_each_time(tmp_path: Path) -> None:
    assert one(tmp_path, {"png": b"hello"}).error == "bad_image: no PNG, JPEG, WEBP"


def test_text_json_and_seed(tmp_path: Path) -> None:
    found = one(tmp_path, {"png": picture(), "txt": "ein Äpfel\n".encode(), "json": b'{"seed": 3, "x": [1]}'})
    assert (found.prompt, found.extra, found.seed) == ("ein Äpfel", {"seed": 3, "x": [1]}, 3)
    assert one(tmp_path, {"png": picture()}).prompt is None
    assert one(tmp_path, {"png": picture(), "txt": b"told"}, Format(1, 4, 4, captions=False)).prompt is None
    bad = {
        "bad_text": ("txt", [b"\xff"]),
        "bad_json": ("json", [b"{", b"[]", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 100000, b"\xff"]),
        "bad_seed": (
            "json",
            [b'{"seed": %s}' % s for s in (b"-1", b"1.0", b"true", b'"1"', b"9223372036854775808")],
        ),
    }
    for code, (suffix, values) in bad.items():
        for data in values:
            assert codes([one(tmp_path, {"png": picture(), suffix: data})]) == [("k", code)], data


# The files


def test_compressed_shards(tmp_path: Path) -> None:
    data = tar([(f"{key}.png", picture()) for key in "abc"])
    packed = gzip.compress(data[:2000]) + gzip.compress(data[2000:])
    for name in ("a.tar.gz", "b.tgz"):
        assert codes(records(tmp_path, packed, name=name)) == [("a", None), ("b", None), ("c", None)]
    cut = records(tmp_path, packed[:-30], name="c.tar.gz")
    assert cut[-1].key is None
    assert "gzip" in str(cut[-1].error)
    assert codes(cut)[0] == ("a", None)
    bounded = records(tmp_path, gzip.compress(data), name="d.tar.gz", max_bytes=3000)
    assert str(bounded[-1].error) == "truncated: more than 3000 bytes decompressed"


def test_zstd(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    try:
        import zstandard
    except ImportError:
        path.write_bytes(b"")
        with pytest.raises(UsageError, match="zstandard"):
            resolve(str(path))
        return
    data = zstandard.ZstdCompressor().compress(tar([("a.png", picture()), ("b.png", picture())]))
    assert codes(records(tmp_path, data, name=path.name)) == [("a", None), ("b", None)]
    assert str(records(tmp_path, data[:-4], name=path.name)[-1].error).startswith("truncated: ")
    data = b"junk" + data
    assert "damaged zstd" in str(records(tmp_path, data, name=path.name)[-1].error)


def test_remote_shards() -> None:
    import fsspec  # type: ignore[import-untyped]

    with fsspec.open("memory://bucket/x/a.tar", "wb") as file:
        file.write(tar([("a.png", picture())]))
    (source,) = resolve("memory://bucket/x/*.tar")
    assert source.stem == "a"
    with ShardReader(source, FORM) as reader:
        assert reader.record(0).error is None
    with pytest.raises(StorageError):
        ShardReader(Source("memory://bucket/gone.tar", "gone", 1, ""), FORM)


def test_a_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str) -> None:
        raise RuntimeError("no route to host")  # as the clients of stores raise errors of their own

    monkeypatch.setattr("fsspec.core.url_to_fs", fail)
    with pytest.raises(StorageError, match="no route to host"):
        resolve("memory://bucket/x.tar")


def test_a_missing_file_is_storage(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gone"):
        ShardReader(Source(str(tmp_path / "gone.tar"), "gone", 1, 0.0), FORM)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "d/00.tar", "d/01.tar", "d/sizes.json", "e/00.tgz", "e/x[1].tar", "e/{y}.tar")
    monkeypatch.chdir(tmp_path)

    def stems(patterns: str | list[str]) -> list[str]:
        return [source.stem for source in resolve(patterns)]

    assert stems("d/*") == ["00", "01"]
    assert stems("d/{01..00}.tar") == ["00", "01"]
    assert stems(["d/01.tar", "d/*.tar", f"{tmp_path}/d/00.tar"]) == ["00", "01"]
    assert stems(["d/*.tar", "e/00.tgz"]) == ["d/00", "d/01", "e/00"]
    assert stems(["e/x[1].tar", "e/{y}.tar"]) == ["x[1]", "{y}"]
    (source,) = resolve("d/00.tar")
    assert (source.url, source.size) == (str(tmp_path / "d/00.tar"), 0)
    assert source.mtime == os.stat("d/00.tar").st_mtime


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("d/*.none", "nothing matches"),
        ("d/none.tar", "there is no"),
        ("d/{00,02}.tar", "there is no"),
        ("d", "not a folder"),
        ("d/sizes.json", "a tar file"),
        ("pipe:cat d/00.tar", "never run"),
        ("nosuch://d/00.tar", "a path, glob or URL"),
        ("d/{0..", "a path, glob or URL"),
        ([], "at least one"),
        (["d/00.tar", "d/00.tgz"], "one shard of that name"),
    ],
)
def test_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patterns: str | list[str], expected: str) -> None:
    touch(tmp_path, "d/00.tar", "d/00.tgz", "d/sizes.json")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=expected) as raised:
        resolve(patterns)
    assert str(raised.value).startswith("data.shards=")
    assert "\n" not in str(raised.value)


def test_counts(tmp_path: Path) -> None:
    touch(tmp_path, "d/0.tar", "d/1.tar", "d/2.tar", "e/0.tar", "f/0.tar")
    (tmp_path / "d/sizes.json").write_text(json.dumps({"0.tar": 5, "1.tar": -1, "2.tar": True}))
    (tmp_path / "e/sizes.json").write_text("{")
    assert counts(resolve(f"{tmp_path}/*/*.tar")) == [5, None, None, None, None]
