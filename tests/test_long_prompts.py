"""Prompts that are longer than the text encoder takes: cut, and said so. Tokenizers that do not know their length."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.tars import pixels, tar

import fcs
from fcs.models import Model
from fcs.tools.cli.predict import main

LONG, FITS = "r " * 15, "r " * 14  # the tiny model takes 16 tokens, two of which are beginning and end


def test_a_model_says_whether_a_prompt_is_too_long(latent_model: Model, digits: Model) -> None:
    assert [latent_model.truncates(prompt) for prompt in ("", FITS, LONG)] == [False, False, True]
    assert not digits.truncates(LONG * 9)


def test_a_call_says_how_many_prompts_were_cut(latent_model: Model, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fcs"):
        made = fcs.sample(latent_model, 3, [FITS, LONG, LONG + "a"], seed=[1, 2, 2], steps=1, progress=False)
    assert [row["truncated"] for row in made.metrics] == [False, True, True]
    assert made.images[1].tobytes() == made.images[2].tobytes()
    assert "2 of 3 images: the prompt is longer" in caplog.text
    caplog.clear()
    fcs.sample(latent_model, 1, FITS, steps=1, progress=False)
    assert caplog.text == ""


def test_a_run_says_how_many_and_its_rows_which(
    tiny_sd: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grey, white = pixels(np.full((64, 64, 3), 90, np.uint8)), pixels(np.full((64, 64), 255, np.uint8))
    prompts = {"a": FITS, "b": LONG, "c": LONG}
    members = [
        (f"{key}.{suffix}", data)
        for key, prompt in prompts.items()
        for suffix, data in {"png": grey, "mask.png": white, "txt": prompt.encode()}.items()
    ]
    (tmp_path / "in.tar").write_bytes(tar([*members, ("d.png", b"broken"), ("d.mask.png", white)]))
    run = [f"data.shards={tmp_path}/in.tar", f"out={tmp_path}/out", f"model.name={tiny_sd}", "task=inpaint"]
    run += ["sampler=ddim", "steps=1", "guidance=2", f"negative_prompt={LONG}", "previews.max=0"]
    with caplog.at_level(logging.WARNING, "fcs"):
        assert main(run) == 3
    rows = pq.read_table(tmp_path / "out" / "metrics" / "in.parquet").to_pylist()
    assert [row["truncated"] for row in rows] == [False, True, True, None]
    assert "2 of 4 records: the prompt is longer" in caplog.text
    assert "negative_prompt: the prompt is longer" in caplog.text
    assert "data.prompt" not in caplog.text


def test_nobody_is_told_that_the_model_fails_on_a_long_prompt(
    latent_model: Model, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokenizers say so, once, of what is not cut yet; what the network sees is."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    monkeypatch.setattr(latent_model.text.tokenizer, "deprecation_warnings", {})  # what it has said before
    fcs.sample(latent_model, 1, "t " * 20, steps=1, progress=False)
    assert [record.name for record in caplog.records] == ["fcs"]


def test_a_tokenizer_without_a_length_takes_the_encoders(tiny_sd: Path, latent_model: Model, tmp_path: Path) -> None:
    shutil.copytree(tiny_sd, tmp_path / "model")
    file = tmp_path / "model" / "tokenizer" / "tokenizer_config.json"
    config = json.loads(file.read_text())
    del config["model_max_length"]
    file.write_text(json.dumps(config))
    model = fcs.load(tmp_path / "model", device="cpu")
    options = {"prompt": LONG, "steps": 1, "progress": False}
    assert fcs.sample(model, **options).images[0].tobytes() == fcs.sample(latent_model, **options).images[0].tobytes()
    assert model.truncates(LONG)
