"""The records of a tar: whole records survive any damage around them, and each break has a name."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from helpers.tars import array, codes, picture, records, tar

from fcs.shards.input import record_index
from fcs.shards.input.decode import Format


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


@pytest.mark.parametrize(
    ("names", "expected", "counted"),
    [
        ("cat.v2.png cat.v2.mask.png", ["cat.v2: bad_key: a dot is in it: cat.v2."], "2 members"),
        ("a.png d/1.5.PNG d/1.6.png", ["a", "d/1.5: bad_key", "d/1.6: bad_key"], "2 members (d/1.5.PNG, d/1.6.png)"),
        ("x.v1.mask.png x.v1.txt x.v1.jpg", ["x.v1: bad_key"], "2 members"),
        ("a.png b.tif c.b.jfif", ["a", "b: missing_image: no png, jpg, jpeg or webp, but b.tif", "c.b: missing"], "2 "),
        ("a.v2.png a.txt", ["a: missing_image"], ""),  # the record has a row that fails
        ("a.png a.depth.png a.tif a.input.png a.input.mask.png", ["a"], ""),  # more than a record needs is no record
        ("a.png a.v2.png a.v2.mask.png", ["a"], "2 members (a.v2.png, a.v2.mask.png) are passed over"),
        ("a.png ._a.png d/._b.png .c.png READ.me png jpg. x.y.txt a.b", ["a"], ""),
        ("k.1.png k.2.png k.3.png k.4.png", [f"k.{i}: bad_key" for i in range(1, 5)], "4 members (k.1.png, k.2.png,"),
    ],
)
def test_no_picture_vanishes_by_its_name(tmp_path: Path, names: str, expected: list[str], counted: str) -> None:
    data = tar([(name, picture()) for name in names.split()])
    found = records(tmp_path, data)
    said = [f"{record.key}: {record.error}" if record.error else str(record.key) for record in found]
    assert [line[: len(start)] for line, start in zip(said, expected, strict=True)] == expected
    remarks = record_index.index(io.BytesIO(data)).remarks
    assert [counted in remark for remark in remarks] == [True] * bool(counted)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("cat.v2.png cat.v2.mask.png cat.v3.png", ["cat_v2: image mask", "cat_v3: image"]),
        ("a.png a.mask.png a.txt a.json", ["a: image mask prompt json"]),
        ("./d.1/1.5.JPG d.1/1.5.Mask.PNG d.1/1.5.txt d.1/1.5.cls", ["d.1/1_5: image mask prompt"]),
        ("cat.v2.png cat_v2.png", ["cat_v2: image", "cat_v2: duplicate_key"]),
        ("cat.v2.tif .hidden.png dog.png", ["cat.v2: missing_image", "dog: image"]),
        ("cat.v2.png cat.v2.seg.png", ["cat_v2: image", "cat_v2_seg: image"]),
    ],
)
def test_keys_that_end_before_the_last_suffix(names: str, expected: list[str]) -> None:
    data = tar([(name, picture()) for name in names.split()])
    found = record_index.index(io.BytesIO(data), keys="last_suffix").entries
    said = [
        (entry.error or " ".join(record_index.SLOTS[name] for name in entry.members)).split(":")[0] for entry in found
    ]
    assert [f"{entry.key}: {what}" for entry, what in zip(found, said, strict=True)] == expected


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
