"""faces-64: attributes that are independent and can be told apart, where they lie, and the job that draws them."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from faces.attributes import ACCESSORY, ATTRIBUTES, HAIR, HELD_OUT, NAMES, held_out, world
from faces.captions import draw_caption, full_caption
from faces.draws import Face, Placement, Split, draw_face, generator
from faces.masks import MASKS, draw_mask
from faces.pool import draw_pool, read_pool
from faces.regions import REGIONS, area, spread, states
from faces.render import render
from helpers import forked
from numpy.typing import NDArray
from PIL import Image

JOBS = Path(__file__).parents[1] / "jobs"
SETTINGS = 4  # random settings of the other attributes
SEEN = 2.0  # distance of pictures in units of one full-contrast channel: below, nobody tells them apart
TOUCHED = 0.03  # of full contrast: what Lanczos leaves beyond a pixel's neighbours


def face(index: int, split: Split = "train") -> Face:
    return draw_face(split, generator(5, split, index))


@cache
def variants(attribute: int, index: int) -> NDArray[np.float64]:
    """One face with each class of an attribute, (classes, 64, 64, 3) in [0, 1]."""
    own = face(index)
    labels = [(*own.labels[:attribute], c, *own.labels[attribute + 1 :]) for c in range(_classes(attribute))]
    return np.stack([render(replace(own, labels=row)) for row in labels]) / 255


def _classes(attribute: int) -> int:
    return len(ATTRIBUTES[attribute].choices)


def nearest(pictures: NDArray[np.float64]) -> float:
    """The least distance of two of them."""
    flat = pictures.reshape(len(pictures), -1)
    return min(float(np.linalg.norm(a - b)) for i, a in enumerate(flat) for b in flat[:i])


@pytest.mark.parametrize("index", range(SETTINGS))
@pytest.mark.parametrize("attribute", range(len(NAMES)), ids=NAMES)
def test_a_class_shows_in_its_region_whatever_the_others_are(attribute: int, index: int) -> None:
    pictures, placement = variants(attribute, index), face(index).placement
    region = REGIONS[NAMES[attribute]]
    assert nearest(pictures) > SEEN
    for core in region.cores:
        assert nearest(pictures[:, area(core, placement, 64)]) > SEEN
    changed = (pictures.max(0) - pictures.min(0)).max(-1)
    extent = np.any([spread(area(box, placement, 64)) for box in region.extent], axis=0)
    assert changed[~extent].max(initial=0) < TOUCHED


def test_a_hidden_extent_leaves_an_attribute_open_and_a_shown_core_determines_it() -> None:
    upright = Placement()
    nothing, everything = np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)
    assert set(states(nothing, upright).values()) == {"determined"}
    assert set(states(everything, upright).values()) == {"open"}
    band = draw_mask("band", upright, 64, np.random.default_rng(0))
    found = states(band, upright)
    assert {name for name, state in found.items() if state == "open"} == {"brows", "eyes"}
    assert {name for name, state in found.items() if state == "part"} == {"accessory", "hair", "skin"}
    eye = nothing.copy()
    eye[area(REGIONS["eyes"].cores[0], upright, 64)] = 255
    assert states(eye, upright)["eyes"] == "part"


@pytest.mark.parametrize("size", [64, 128])
def test_regions_move_with_the_head(size: int) -> None:
    box = REGIONS["eyes"].cores[0]
    still = area(box, Placement(), size)
    moved = area(box, Placement(right=14.0, down=-7.0), size)
    shift = round(14.0 * Placement().scale * size / 280), round(-7.0 * Placement().scale * size / 280)
    assert (moved ^ np.roll(still, shift[::-1], (0, 1))).sum() <= 2 * size // 4  # a pixel's width of the edges


def test_open_attributes_are_hidden_in_every_picture() -> None:
    for index in range(SETTINGS):
        own = face(index)
        for kind in MASKS:
            mask = draw_mask(kind, own.placement, 64, generator(5, "seen", index))
            for i, state in enumerate(states(mask, own.placement).values()):
                shown = variants(i, index)[:, mask == 0]
                if state == "open":
                    assert np.ptp(shown, axis=0).max() < TOUCHED
                elif state == "determined":
                    assert nearest(shown) > SEEN


def test_classes_have_their_probabilities_given_that_pairs_are_held_out() -> None:
    n = 4000
    labels = np.array([draw_face("train", generator(9, "train", i)).labels for i in range(n)])
    for i in range(len(NAMES)):
        probabilities = world().posterior(i, {})
        assert probabilities.sum() == pytest.approx(1)
        counts = np.bincount(labels[:, i], minlength=len(probabilities))
        spread_of_counts = np.sqrt(n * probabilities * (1 - probabilities))
        assert np.abs(counts - n * probabilities).max() < 5 * spread_of_counts.max()
    for accessory in range(_classes(ACCESSORY)):  # what is left of hair given an accessory
        given = labels[labels[:, ACCESSORY] == accessory]
        probabilities = world().posterior(HAIR, {ACCESSORY: accessory})
        counts = np.bincount(given[:, HAIR], minlength=len(probabilities))
        assert (counts[probabilities == 0] == 0).all()
        assert np.abs(counts / len(given) - probabilities).max() < 5 * np.sqrt(probabilities.max() / len(given))
    # independence: the correlation of any two labels is that of chance, but for the pair that is restricted
    correlation = np.corrcoef(labels.T) - np.eye(len(NAMES))
    correlation[HAIR, ACCESSORY] = correlation[ACCESSORY, HAIR] = 0
    assert np.abs(correlation).max() < 5 / np.sqrt(n)


def test_held_out_pairs_are_never_trained_on() -> None:
    assert len(HELD_OUT) == 12
    assert not any(accessory == 0 for _, accessory in HELD_OUT)
    for split in ("train", "seen", "unseen"):
        pairs = [(face(i, split).labels[HAIR], face(i, split).labels[ACCESSORY]) for i in range(100)]
        found = [held_out(*pair) for pair in pairs]
        assert found == [split == "unseen"] * 100


def test_captions_name_what_is_there() -> None:
    rng = np.random.default_rng(0)
    own = face(0)
    captions = [draw_caption(own.labels, rng) for _ in range(2000)]
    empty = sum(caption == "" for caption in captions)
    assert abs(empty / 2000 - 0.1) < 0.03
    filled = [caption for caption in captions if caption]
    for name, value in own.attributes.items():
        wordings = [phrase.format(value) for phrase in ATTRIBUTES[NAMES.index(name)].phrases]
        shares = [sum(words in caption.split(", ") for caption in filled) / len(filled) for words in wordings]
        assert sum(shares) == pytest.approx(0.7, abs=0.06)
        assert min(shares) > 0.25
    assert len({tuple(sorted(caption.split(", "))) for caption in filled}) < len(set(filled))  # orders differ
    everything = full_caption(own.labels)
    assert [value in phrase for value, phrase in zip(own.attributes.values(), everything.split(", "), strict=True)]
    assert everything.count(", ") == len(NAMES) - 1


def run(folder: Path, *options: str) -> None:
    ended = forked.run([sys.executable, JOBS / "build_faces.py", "--out", folder, *options])
    assert ended.returncode == 0, ended.stderr


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    run(tmp_path / "a", "--records", "7", "--split", "unseen", "--shard", "4", "--workers", "1")
    run(tmp_path / "b", "--records", "7", "--split", "unseen", "--shard", "4", "--workers", "2")
    run(tmp_path / "c", "--records", "4", "--split", "unseen", "--seed", "1", "--workers", "1")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["unseen-00000.tar", "unseen-00001.tar"]
    first, second, other = [[(tmp_path / part / name).read_bytes() for name in names[:count]]
                            for part, count in (("a", 2), ("b", 2), ("c", 1))]  # fmt: skip
    assert first == second
    assert other[0] != first[0]


def test_a_record_is_whole(tmp_path: Path) -> None:
    run(tmp_path, "--records", "4", "--size", "128", "--caption", "all", "--workers", "1")
    with tarfile.open(tmp_path / "train-00000.tar") as tar:
        members = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    assert len(members) == 16
    for i in range(4):
        key = f"train-{i:06d}"
        own = draw_face("train", generator(0, "train", i))
        about = json.loads(members[f"{key}.json"])
        assert about["attributes"] == own.attributes
        assert about["mask"] == MASKS[i]
        assert members[f"{key}.txt"].decode() == full_caption(own.labels)
        picture = np.asarray(Image.open(io.BytesIO(members[f"{key}.png"])))
        mask = np.asarray(Image.open(io.BytesIO(members[f"{key}.mask.png"])))
        assert np.array_equal(picture, render(own, 128))
        assert (mask.shape, set(np.unique(mask))) == ((128, 128), {0, 255})
        assert about["states"] == states(mask, own.placement)


def test_the_array_to_train_on_holds_the_same_faces(tmp_path: Path) -> None:
    draw_pool(tmp_path, 5, "seen", seed=3, workers=1)
    pictures, labels = read_pool(tmp_path, "seen")
    assert isinstance(pictures, np.memmap)
    faces = [draw_face("seen", generator(3, "seen", i)) for i in range(5)]
    assert np.array_equal(pictures, np.stack([render(own) for own in faces]))
    assert labels.tolist() == [list(own.labels) for own in faces]
    assert {path.name for path in tmp_path.iterdir()} == {"seen.npy", "seen.labels.npy"}
