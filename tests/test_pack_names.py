"""What the names in a folder say to fcs-pack: nothing is dropped without a word, and no mask becomes a picture."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.pack_sources import contents, encoded, mask

from fcs.core.errors import UsageError
from fcs.tools.cli.pack import main
from fcs.tools.pack.folder_names import MaskNames
from fcs.tools.pack.open_source import Reading, open_source
from fcs.tools.pack.source_record import SourceRecord


def write(top: Path, *names: str) -> Path:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(mask(0) if "mask" in name.lower() else encoded(0))
    return top


def found(top: Path, **masks: object) -> dict[str, str | None]:
    """The mask of each record by its key, as paths in the folder."""
    records = open_source(top, Reading(masks=MaskNames(**masks, said=bool(masks))))  # type: ignore[arg-type]
    return {record.key: relative(record.mask, top) for record in records}


def relative(path: object, top: Path) -> str | None:
    return None if path is None else os.path.relpath(str(path), top)


def test_capitals_in_the_ends_of_names(tmp_path: Path) -> None:
    write(
        tmp_path, "a.PNG", "a.MASK.PNG", "a.TXT", "a.Json", "b.png", "b.mask.JPG", "c.png", "c.mask.png", "c.MASK.png"
    )
    first, *_ = records = list(open_source(tmp_path))
    assert [relative(path, tmp_path) for path in (first.mask, first.prompt, first.facts)] == [
        "a.MASK.PNG",
        "a.TXT",
        "a.Json",
    ]
    assert [(record.key, relative(record.mask, tmp_path)) for record in records[1:]] == [
        ("b", "b.mask.JPG"),
        ("c", "c.mask.png"),
    ]


def test_pictures_by_all_their_ends(tmp_path: Path) -> None:
    ends = ["jfif", "jpe", "apng", "avif", "tif", "TIFF", "bmp"]
    assert list(found(write(tmp_path, *(f"{end}.{end}" for end in ends)))) == sorted(ends)


@pytest.mark.parametrize("name", ["x_mask.png", "x-mask.JPG", "x_MASK.png"])
def test_what_may_be_a_mask_is_asked(tmp_path: Path, name: str) -> None:
    write(tmp_path, "x.png", name, "face_mask.png")  # the last is a picture: there is no face.png
    end = name[1:6]
    with pytest.raises(UsageError, match=rf"{name}: expected to know what it is: --mask-suffix '{end}'"):
        found(tmp_path)
    pictures = {"face_mask": None} if end == "-mask" else {}  # else it is the mask of a picture that is not there
    assert found(tmp_path, suffix=end) == {**pictures, "x": name}
    assert found(tmp_path, suffix=".mask") == {"face_mask": None, "x": None, name[:6]: None}


@pytest.mark.parametrize(
    ("names", "masks"),
    [
        (("x.jpg", "masks/x.png"), {"x": "masks/x.png"}),
        (("a/x.png", "masks/a/x.png", "b.png"), {"a/x": "masks/a/x.png", "b": None}),
        (("images/x.png", "masks/x.bmp"), {"images/x": "masks/x.bmp"}),
        (("images/a/x.png", "masks/a/x_mask.png"), {"images/a/x": "masks/a/x_mask.png"}),
        (("x.png", "masks/x.mask.png"), {"x": "masks/x.mask.png"}),
    ],
)
def test_a_folder_of_masks(tmp_path: Path, names: tuple[str, ...], masks: dict[str, str | None]) -> None:
    write(tmp_path, *names)
    with pytest.raises(UsageError, match="--mask-folder masks takes it as one of masks"):
        found(tmp_path)
    assert found(tmp_path, folder="masks") == masks
    assert found(tmp_path, folder=str(tmp_path / "masks")) == masks  # a path too
    with pytest.raises(UsageError, match="--mask-folder=mask: expected a folder in"):
        found(tmp_path, folder="mask")


def test_a_class_that_is_called_masks_is_no_folder_of_masks(tmp_path: Path) -> None:
    assert list(found(write(tmp_path, "cats/1.png", "masks/2.png"))) == ["cats/1", "masks/2"]


def test_what_is_passed_over_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = write(tmp_path / "in", "a.png", "b.png", "y.mask.png")
    for name in ("z.txt", "t.csv", "u.CSV", "README"):
        (top / name).write_text("")
    (top / "gone.png").symlink_to("nowhere")
    (top / "b.txt").symlink_to("nowhere")
    (top / "gone.pdf").symlink_to("nowhere")
    (top / "more").symlink_to(tmp_path, target_is_directory=True)
    assert main([str(top), str(tmp_path / "out")]) == 3
    said = capsys.readouterr()
    assert "passed over: 2 .csv, 1 .mask.png, 1 .pdf, 1 .txt, 1 without an end" in said.out
    assert f"{top}/more: a link to a folder, not followed" in said.out
    assert f"{top}/gone.pdf: a link that leads nowhere" in said.out
    assert [name in said.err for name in ("gone.png: No such file", "b.txt: No such file")] == [True, True]
    assert list(contents(tmp_path / "out")) == ["a"]


def test_mask_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = write(tmp_path / "in", "x.png", "x_mask.png")
    assert main([str(top), str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
    assert main([str(top), str(tmp_path / "out"), "--mask-suffix", "_mask.png"]) == 0
    assert contents(tmp_path / "out")["x"].keys() == {"png", "mask.png"}
    capsys.readouterr()
    for option, value in {"--mask-suffix": ".png", "--mask-folder": "none", "--caption": "2"}.items():
        assert main([str(top), str(tmp_path / "no"), option, value]) == 2
        assert f"{option}={value}: expected" in capsys.readouterr().err


def test_a_table_has_no_mask_suffix(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image\na.png\n")
    assert isinstance(next(open_source(tmp_path / "t.csv")), SourceRecord)
    with pytest.raises(UsageError, match="a folder of pictures"):
        open_source(tmp_path / "t.csv", Reading(masks=MaskNames("_m", said=True)))


def test_a_table_beside_pictures_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hub's folders of pictures hold their captions so."""
    folder = tmp_path / "in" / "train"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(encoded(1))
    (folder / "metadata.jsonl").write_text('{"file_name": "1.png", "text": "a cat"}')
    assert main([str(tmp_path / "in"), str(tmp_path / "one")]) == 0
    assert f"{folder}/metadata.jsonl is not read; as SOURCE it gives" in capsys.readouterr().out
    assert main([f"{folder}/metadata.jsonl", str(tmp_path / "two")]) == 0
    assert "prompts: 1 of 1" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "said"), [("a.zip", "folder that it unpacks to"), ("a.tar.gz", "a shard as it is")])
def test_archives(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    assert main([str(tmp_path / name), str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
