"""Scores and features of networks: laws that they keep, what has none, weights that are not there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import fcs
from fcs.core.errors import UsageError
from fcs.core.images import to_float
from fcs.metrics import weights
from fcs.metrics.extractors import Dino
from fcs.metrics.judge import Judge, JudgedPictures
from fcs.metrics.lpips import Lpips, alexnet
from fcs.models.loading import EMBEDDED
from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import resolve
from fcs.shards.input.whole_tar import members_by_key

CLIP = EMBEDDED / "emoji-64" / "clip"
SHAPE = (3, 64, 64)
EMOJI = Path(fcs.__file__).parent / "samples" / "emoji" / "seen.tar"


@pytest.fixture(scope="module")
def emoji() -> tuple[Tensor, list[str]]:
    """Eight glyphs and their captions."""
    (source,) = resolve(str(EMOJI))
    with ShardReader(source, Format(*SHAPE, "none", False, False, True)) as reader:
        records = [reader.record(i) for i in range(8)]
    pictures = torch.stack([record.image for record in records if record.image is not None])
    return pictures, [record.prompt or "" for record in records]


def seen(
    pictures: Tensor, reference: Tensor | None = None, prompts: Sequence[str] = (), **more: object
) -> JudgedPictures:
    masks = more.get("masks", torch.full((len(pictures), 1, *pictures.shape[2:]), 255, dtype=torch.uint8))
    return JudgedPictures(pictures, reference, prompts or [""] * len(pictures), more.get("styles", []), masks)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of AlexNet in a file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = {f"features.{name}": value for name, value in alexnet().state_dict().items()}
    file = tmp_path_factory.mktemp("alexnet") / "alexnet.safetensors"
    save_file({**state, "classifier.1.weight": torch.zeros(2)}, file)
    return file


def test_lpips_of_each_row(trunk: Path, emoji: tuple[Tensor, list[str]]) -> None:
    pictures, _ = emoji
    judge = Judge(["lpips"], [], {"lpips": trunk}, SHAPE)
    made = pictures.clone()
    made[1] = pictures[2]
    rows, features = judge(seen(made, pictures))
    assert [row["lpips"] for row in rows] == [
        pytest.approx(v) for v in Lpips.load(trunk)(*map(to_float, (made, pictures)))
    ]
    assert [row["lpips"] == 0 for row in rows] == [True, False] + [True] * 6
    assert features == [{}] * 8
    assert judge(seen(made))[0] == [{"lpips": None}] * 8
    assert judge(seen(made[..., :63], pictures[..., :63]))[0] == [{"lpips": None}] * 8


def test_clip_prefers_a_pictures_own_caption(emoji: tuple[Tensor, list[str]]) -> None:
    pictures, captions = emoji
    judge = Judge(["clip"], [], {"clip": CLIP}, SHAPE)
    own, others = (
        [row["clip"] or 0.0 for row in judge(seen(pictures, None, words))[0]]
        for words in (captions, captions[1:] + captions[:1])
    )
    assert sum(a > b for a, b in zip(own, others, strict=True)) >= 6
    assert all(0 <= value <= 100 for value in own + others)
    assert judge(seen(pictures, None, ["", " ", *captions[2:]]))[0][:2] == [{"clip": None}] * 2


def test_style_is_nothing_between_a_picture_and_itself(emoji: tuple[Tensor, list[str]]) -> None:
    pictures, _ = emoji
    judge = Judge(["style"], [], {"clip": CLIP}, SHAPE)
    styles = [to_float(pictures)]
    same = [row["style"] for row in judge(seen(pictures, styles=styles))[0]]
    other = [row["style"] for row in judge(seen(pictures.roll(1, 0), styles=styles))[0]]
    assert same == pytest.approx([0] * 8, abs=1e-2)
    assert min(value or 0 for value in other) > 10
    assert judge(seen(pictures))[0] == [{"style": None}] * 8
    # Where a mask lets no pixel take it, nothing is compared.
    masks = torch.zeros(8, 1, 64, 64, dtype=torch.uint8)
    assert [row["style"] for row in judge(seen(pictures.roll(1, 0), styles=styles, masks=masks))[0]] == [0] * 8


def test_features_of_results_and_references(emoji: tuple[Tensor, list[str]], tiny_clip: Path) -> None:
    pictures, _ = emoji
    judge = Judge([], ["clip", "random"], {"clip": tiny_clip}, SHAPE)
    assert judge.names(True) == ("clip", "random", "clip_reference", "random_reference")
    assert judge.names(False) == ("clip", "random")
    _, rows = judge(seen(pictures, pictures.flip(0)))
    assert set(rows[0]) == set(judge.names(True))
    assert all(row["clip"].shape == (8,) for row in rows)
    assert [float((row["clip"] ** 2).sum()) for row in rows] == pytest.approx([1] * 8, rel=1e-5)
    assert rows[0]["random"] == pytest.approx(rows[7]["random_reference"], rel=1e-4, abs=1e-5)
    _, alone = judge(seen(pictures[:1]))
    assert set(alone[0]) == {"clip", "random"}
    assert alone[0]["clip"] == pytest.approx(rows[0]["clip"], rel=1e-4, abs=1e-6)


@pytest.fixture(scope="module")
def tiny_dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dino")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Dinov2Model(Dinov2Config(**sizes, image_size=56, patch_size=14)).save_pretrained(folder)
    facts = {"crop_size": {"height": 56, "width": 56}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(facts))
    return folder


def test_dino_is_the_class_token(tiny_dino: Path) -> None:
    from transformers import Dinov2Model

    pictures = torch.randint(256, (2, 1, 56, 56), generator=torch.Generator().manual_seed(0)).byte()
    pixels = (pictures.float() / 255 - 0.5).expand(-1, 3, -1, -1) / 0.25
    with torch.no_grad():
        expected = Dinov2Model.from_pretrained(tiny_dino)(pixels).pooler_output
        torch.testing.assert_close(Dino(tiny_dino)(pictures), expected)
        assert Dino(tiny_dino)(pictures[..., :20, :20]).shape == (2, 16)


def test_a_gpu_without_room_leaves_metrics_to_the_cpu(
    emoji: tuple[Tensor, list[str]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    judge = Judge([], ["random"], {}, SHAPE)
    monkeypatch.setattr(judge, "device", torch.device("meta"))
    work = judge._judge

    def short(seen: JudgedPictures) -> object:
        if judge.device.type == "meta":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return work(seen)

    monkeypatch.setattr(judge, "_judge", short)
    _, rows = judge(seen(emoji[0]))
    assert rows[0]["random"].any()
    assert "made on the CPU" in caplog.text
    monkeypatch.setattr(judge, "_judge", lambda seen: work(None))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        judge(seen(emoji[0]))


def test_weights_that_cannot_be_had_are_named_with_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UsageError, match=rf"metrics.lpips=null: expected alexnet-owt-7be5be79.pth in {tmp_path}"):
        weights.find(["lpips"], {})
    with pytest.raises(UsageError, match=r"weights-inception-2015-12-05-6726825d.pth in .*https://github.com/toshas"):
        weights.find(["inception"], {"inception": None})
    with pytest.raises(UsageError, match=r"metrics.lpips=nowhere.pth: expected a file: alexnet-owt"):
        weights.find(["lpips"], {"lpips": "nowhere.pth"})
    with pytest.raises(UsageError, match=r"metrics.dinov2=null: expected a folder in transformers' format"):
        weights.find(["dinov2"], {"dinov2": None})
    with pytest.raises(UsageError, match=r"there is no .*config.json"):
        weights.find(["clip"], {"clip": str(tmp_path)})
    with pytest.raises(UsageError, match=r"metrics.clip=no/such: .* here or from the hub"):
        weights.find(["clip"], {"clip": "no/such"})
    file = tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth"
    file.parent.mkdir()
    file.write_bytes(b"not weights")
    assert weights.find(["lpips", "random", "digits", "clip"], {"clip": "emoji-64"}) == {"lpips": file, "clip": CLIP}
    with pytest.raises(UsageError, match=r"metrics.lpips=.*: expected AlexNet's weights"):
        Judge(["lpips"], [], {"lpips": file}, SHAPE)
    with pytest.raises(UsageError, match=r"metrics.features=digits"):
        Judge([], ["digits"], {}, SHAPE)


def test_the_hash_is_of_what_is_there(tmp_path: Path, trunk: Path) -> None:
    assert weights.sha256(trunk) != weights.sha256(CLIP)
    copy = tmp_path / "other-name.safetensors"
    copy.write_bytes(trunk.read_bytes())
    assert weights.sha256(copy) == weights.sha256(trunk)


def test_samples_have_captions() -> None:
    assert all("txt" in members for members in members_by_key(EMOJI).values())
