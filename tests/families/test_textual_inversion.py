"""Learnt words: a prompt with one gives what the pipeline itself gives, on Stable Diffusion's own path too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import fcs
from families.builders import FAMILIES
from families.parts import LENGTH, WIDTH
from fcs.core.errors import UsageError
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.models.stable_diffusion import StableDiffusion
from fcs.models.textual_inversion import TextualInversion
from fcs.tools.cli.predict import main

pytestmark = pytest.mark.families
WORD = "<cat-toy>"
PROMPT = f"a {WORD} on red"
Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a family's tiny pipeline."""
    root = tmp_path_factory.mktemp("models")

    def of(name: str) -> Path:
        if not (root / name).exists():
            FAMILIES[name]().save_pretrained(root / name)
        return root / name

    return of


def embedding(tokens: int, width: int = WIDTH) -> Tensor:
    return torch.randn(tokens, width, generator=torch.Generator().manual_seed(tokens))


def saved(path: Path, **tensors: Tensor) -> Path:
    save_file(tensors, path)
    return path


def asked(model: Any, prompt: str = PROMPT) -> Tensor:
    x = torch.randn(1, *model.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.guided([prompt])(x, model.schedule.levels(3)[1])


def loaded(path: Path, file: object = ()) -> Any:
    words = str(file) if isinstance(file, Path) else file
    return fcs.load(path, device="cpu", size=(32, 32), textual_inversion=words)


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("name", ["sd1", "sdxl", "flux"])
def test_a_learnt_word_is_the_pipelines_own(name: str, tokens: int, folder: Folder, tmp_path: Path) -> None:
    file = saved(tmp_path / "own.safetensors", **{WORD: embedding(tokens)})
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder(name), local_files_only=True)
    pipe.load_textual_inversion(str(tmp_path), weight_name=file.name)
    model, plain = loaded(folder(name), file), loaded(folder(name))
    own = asked(DiffusersPipeline(pipe, (32, 32)))  # the pipeline's own call reads the prompt
    torch.testing.assert_close(asked(model), own, rtol=0, atol=1e-5)
    torch.testing.assert_close(asked(fcs.load(pipe, size=(32, 32))), own, rtol=0, atol=1e-5)
    assert not torch.allclose(asked(plain), own, rtol=0, atol=1e-4)
    torch.testing.assert_close(asked(model, "red"), asked(plain, "red"), rtol=0, atol=1e-5)
    assert isinstance(model, StableDiffusion) == (name == "sd1")


def test_one_file_for_two_text_encoders(folder: Folder, tmp_path: Path) -> None:
    """As for SDXL: each embedding goes to an encoder of its width, the word is the file's name."""
    file = saved(tmp_path / "toy.safetensors", clip_g=embedding(2), clip_l=embedding(1))
    model = loaded(folder("sdxl"), file)
    assert all("toy" in tokenizer.get_vocab() for tokenizer in (model.pipe.tokenizer, model.pipe.tokenizer_2))
    rows = [model.pipe.text_encoder, model.pipe.text_encoder_2]
    last = [encoder.get_input_embeddings().weight[-count:] for encoder, count in zip(rows, (2, 1), strict=True)]
    assert all(map(torch.equal, last, (embedding(2), embedding(1))))


def test_the_word_of_a_file(tmp_path: Path) -> None:
    """The name in diffusers' files, the file's own name in those that have none, what follows the @ before both."""
    named = saved(tmp_path / "a.safetensors", **{"x-y": embedding(1)})
    nameless = saved(tmp_path / "toy.safetensors", emb_params=embedding(1))
    words = [TextualInversion.of(text).word for text in (f"{named}", f"{nameless}", f"{nameless}@<own>")]
    assert words == ["x-y", "toy", "<own>"]
    prints = {TextualInversion.of(text).fingerprint for text in (f"{named}", f"{named}@z", f"{nameless}@z")}
    assert len(prints) == 3


def test_a_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "toy.safetensors", **{WORD: embedding(1)})
    wanted: list[tuple[str, str]] = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *names: wanted.append(names) or str(file))
    for text in ("own/toy", "own/toy/weights/a.safetensors", "own/toy@word"):
        assert TextualInversion.of(text).file.path == file
    assert wanted == [
        ("own/toy", "learned_embeds.safetensors"),
        ("own/toy", "weights/a.safetensors"),
        ("own/toy", "learned_embeds.safetensors"),
    ]


def test_a_word_of_several_tokens_counts_as_many(folder: Folder, tmp_path: Path) -> None:
    file = saved(tmp_path / "own.safetensors", **{WORD: embedding(LENGTH)})
    own = loaded(folder("sd1"), file)
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder("sd1"), local_files_only=True)
    pipe.load_textual_inversion(str(tmp_path), weight_name=file.name)
    for model in (own, DiffusersPipeline(pipe)):
        assert model.truncates(WORD)
        assert not model.truncates("red")


def test_files_that_do_not_fit(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors at all")
    wide = saved(tmp_path / "wide.safetensors", **{WORD: embedding(1, WIDTH + 1)})
    deep = saved(tmp_path / "deep.safetensors", **{WORD: torch.zeros(1, 2, WIDTH)})
    known = saved(tmp_path / "known.safetensors", **{"red</w>": embedding(1)})
    for text, words in {
        "nowhere.safetensors": "expected a file .safetensors, a folder with learned_embeds.safetensors, or a hub name",
        str(tmp_path / "bad.safetensors"): "expected a file of embeddings",
        str(deep): "not of <cat-toy> [1, 2, 16]",
        f"{wide}@": "a word without spaces after an @",
        f"{wide}@two words": "a word without spaces after an @",
        str(wide): "width 16, as",
        str(known): "knows 'red</w>' already",
    }.items():
        line = rf"\Amodel\.textual_inversion=[^\n]*: [^\n]*{re.escape(words)}[^\n]*\Z"
        with pytest.raises(UsageError, match=line):
            loaded(folder("sd1"), text)


def test_models_that_take_none(folder: Folder, tmp_path: Path) -> None:
    file = saved(tmp_path / "own.safetensors", **{WORD: embedding(1)})
    with pytest.raises(UsageError, match="none: SanaPipeline takes no textual inversion"):
        loaded(folder("sana"), file)
    with pytest.raises(UsageError, match="none for this model, which reads no text"):
        fcs.load("digits-16", device="cpu", textual_inversion=str(file))
    with pytest.raises(UsageError, match="nothing beside a pipeline in memory"):
        fcs.load(FAMILIES["sd1"](), textual_inversion=str(file))


def test_a_run_pins_its_words(folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from families.test_runs import command

    file = saved(tmp_path / "own.safetensors", **{WORD: embedding(1)})
    shards = Path(fcs.__file__).parent / "samples" / "digits" / "half.tar"
    given = ["--prepare", f"data.prompt={PROMPT}", f"model.textual_inversion={file}"]
    run = command(folder("sd1"), shards, tmp_path / "out", *given)
    assert main(run) == 0
    pinned = json.loads((tmp_path / "out" / "run.json").read_text())
    assert TextualInversion.of(str(file)).fingerprint in json.dumps(pinned)
    moved = file.rename(tmp_path / "moved.safetensors")
    assert main([part.replace(str(file), str(moved)) for part in run]) == 0
    saved(moved, **{WORD: embedding(2)})
    capsys.readouterr()
    assert main([part.replace(str(file), str(moved)) for part in run]) == 2
    assert "model.textual_inversion" in capsys.readouterr().err
