"""What a perfect sampler draws on faces, and the recipe that judges it."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exact_faces import parser, run
from faces.attributes import ATTRIBUTES, NAMES, held_out
from faces.draws import Split, draw_face, generator
from faces.exact import Hidden
from faces.masks import Mask, draw_mask
from faces.regions import states
from faces.render import render
from faces.shards import Order, write_shards

import fcs
from fcs.core.errors import UsageError


def record(index: int, kind: Mask, split: Split = "seen") -> Hidden:
    face = draw_face(split, generator(5, split, index))
    mask = draw_mask(kind, face.placement, 64, np.random.default_rng(index))
    return Hidden(face, render(face), mask)


@pytest.mark.parametrize("kind", ["half", "box"])
def test_classes_that_may_be_alone_are_those_that_may_be_together(kind: Mask) -> None:
    """Brows, eyes and mouths of a face in all combinations: what shows the same is the product of what may be."""
    numbers = [NAMES.index(name) for name in ("brows", "eyes", "mouth")]
    one = record(3, kind)
    may_be = [set(np.flatnonzero(one.probabilities()[number])) for number in numbers]
    for classes in itertools.product(*(range(len(ATTRIBUTES[number].choices)) for number in numbers)):
        labels = np.array(one.face.labels)
        labels[numbers] = classes
        together = all(label in known for label, known in zip(classes, may_be, strict=True))
        assert one.shows(one.with_labels(labels)) == together


def test_what_is_determined_stays_and_what_is_open_has_its_probabilities() -> None:
    one = record(1, "band")
    left = states(one.mask, one.face.placement)
    assert {left["brows"], left["eyes"]} == {"open"}
    for attribute, own, found in zip(ATTRIBUTES, one.face.labels, one.probabilities(), strict=True):
        if left[attribute.name] == "open":
            assert found == pytest.approx(attribute.probabilities)
        if left[attribute.name] == "determined":
            assert found[own] == 1


@pytest.mark.parametrize("split", ["seen", "unseen"])
def test_draws_show_the_same_and_are_of_the_same_split(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    one, labels = record(2, "band", split), list[tuple[int, ...]]()
    drawing = Hidden.with_labels

    def noted(self: Hidden, given: np.ndarray) -> np.ndarray:
        labels.append(tuple(given.tolist()))
        return drawing(self, given)

    probabilities = one.probabilities()
    monkeypatch.setattr(Hidden, "probabilities", lambda self: probabilities)
    monkeypatch.setattr(Hidden, "with_labels", noted)
    pictures, tried = one.draws(8, np.random.default_rng(0))
    assert len(pictures) == 8 <= tried == len(labels)
    assert all(one.shows(picture) for picture in pictures)
    assert len(set(labels)) > 1
    assert {held_out(one_of[0], one_of[NAMES.index("accessory")]) for one_of in labels} == {split == "unseen"}


def test_a_picture_that_shows_something_else_is_refused() -> None:
    one = record(0, "box")
    other = one.picture.copy()
    other[one.mask > 0] = 0
    assert one.shows(other)
    other[tuple(np.argwhere(one.mask == 0)[0])] += 8
    assert not one.shows(other)
    assert replace(one, mask=np.full_like(one.mask, 255)).shows(np.zeros_like(one.picture))


def test_the_recipe_judges_exact_draws_as_a_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shards(tmp_path / "set", Order("seen", "band", "all", seed=9), 6, 4, 1)
    words = ["--data", f"{tmp_path}/set/*.tar", "--records", "6", "--out", str(tmp_path / "out")]
    run(parser().parse_args([*words, "--seed", "9"]))
    said = capsys.readouterr().out
    made = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert f"12 of {made['tried']} faces" in said
    assert [(row["method"], row["calls"]) for row in made["rows"]] == [("posterior", 0), ("autoencoded", 0)]
    exact, coded = (
        json.loads((tmp_path / "out" / f"{name}-0" / "evaluate.json").read_text())
        for name in ("posterior", "autoencoded")
    )
    assert exact["records"] == coded["records"] == 6
    assert exact["consistency"]["mean"] == 1  # pasted, so what the classifier reads of the truth it reads of them
    assert exact["single"]["energy_own"] != coded["single"]["energy_own"]
    with pytest.raises(UsageError, match="--seed=8: expected the one that seen-00000/seen-000000 was drawn with"):
        run(parser().parse_args([*words, "--seed", "8"]))
    words[1] = str(Path(fcs.__file__).parent / "samples" / "emoji" / "seen.tar")
    with pytest.raises(UsageError, match=r"--data=.*seen\.tar: expected shards that jobs/build_faces\.py wrote"):
        run(parser().parse_args([*words, "--seed", "9"]))
