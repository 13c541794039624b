"""Textual inversion: words whose embeddings were learnt, in files beside a model's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from safetensors import SafetensorError, safe_open
from torch import Tensor

from fcs.core.errors import UsageError, first_line
from fcs.models.weights_file import WeightsFile

KEY = "model.textual_inversion"
FILE = "learned_embeds.safetensors"  # diffusers' name in a folder
# Names in files that do not name their word: of one encoder, and of SDXL's and later ones.
NAMELESS = ("emb_params", "clip_l", "clip_g", "t5xxl")


@dataclass(frozen=True)
class TextualInversion:
    """A word, and its embeddings for one text encoder or for several.

    Attributes:
        text: as the setting says it.
        file: safetensors.
        word: as it stands in prompts.
        embeddings: ``(D,)`` or, of a word that is read as several tokens, ``(K, D)``; one an encoder.
    """

    text: str
    file: WeightsFile
    word: str
    embeddings: tuple[Tensor, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """From a file, a folder or a hub name, each alone or with ``@WORD``.

        Without, the word is the one that the file names, or else the file's own name.

        Raises:
            UsageError: no such file, or no embeddings in it.
        """
        file = WeightsFile.of(KEY, text, FILE)
        try:
            with safe_open(file.path, "pt") as tensors:
                found = {name: tensors.get_tensor(name) for name in sorted(tensors.keys())}
        except (OSError, SafetensorError) as error:
            raise UsageError.of(KEY, text, f"a file of embeddings ({first_line(error)})") from error
        if not found or not all(one.ndim in (1, 2) and one.numel() for one in found.values()):
            shapes = ", ".join(f"{name} {list(one.shape)}" for name, one in found.items()) or "nothing"
            raise UsageError.of(KEY, text, f"a file of one embedding a text encoder, not of {shapes}")
        (name, *more) = found
        named = file.path.stem if more or name in NAMELESS else name
        word = named if file.after is None else file.after
        if not word or word.split() != [word]:
            raise UsageError.of(KEY, text, f"a word without spaces after an @, not {word!r}")
        return cls(text, file, word, tuple(found.values()))

    @property
    def fingerprint(self) -> str:
        """What results depend on, wherever the file lies."""
        return f"{self.file.sha256}@{self.word}"

    def teach(self, readers: Sequence[tuple[Any, Any]], name: str) -> None:
        """Add the word to tokenizers and text encoders, each embedding where its width fits.

        Args:
            readers: pairs of tokenizer and text encoder, changed in place.
            name: of the model, for messages.

        Raises:
            UsageError: an embedding that fits none, or a word that is one already.
        """
        left = list(readers)
        for embedding in self.embeddings:
            widths = [reader.get_input_embeddings().weight.shape[-1] for _, reader in left]
            if embedding.shape[-1] not in widths:
                fitting = " or ".join(map(str, widths)) or "for no more text encoders"
                found = embedding.shape[-1]
                raise UsageError.of(KEY, self.text, f"embeddings of width {fitting}, as {name} has, not {found}")
            tokenizer, encoder = left.pop(widths.index(embedding.shape[-1]))
            if self.word in tokenizer.get_vocab():
                raise UsageError.of(KEY, self.text, f"another word after an @: {name} knows {self.word!r} already")
            _loader().load_textual_inversion({self.word: embedding}, tokenizer=tokenizer, text_encoder=encoder)


def teach(given: Sequence[str], readers: Sequence[tuple[Any, Any]], name: str) -> None:
    """Add the words of files to tokenizers and text encoders; the other arguments are ``TextualInversion.teach``'s.

    Raises:
        UsageError: a file that is none or does not fit, a word that is one already.
    """
    for one in [TextualInversion.of(text) for text in given]:
        one.teach(readers, name)


def teach_pipeline(given: Sequence[str], pipe: Any) -> None:
    """The same for all text encoders of a pipeline.

    Raises:
        UsageError: as ``teach``, and a pipeline that takes none.
    """
    name = type(pipe).__name__
    if given and not hasattr(pipe, "load_textual_inversion"):
        raise UsageError.of(KEY, given[0], f"none: {name} takes no textual inversion")
    ends = [part.removeprefix("text_encoder") for part in pipe.components if part.startswith("text_encoder")]
    readers = [(getattr(pipe, f"tokenizer{end}", None), getattr(pipe, f"text_encoder{end}")) for end in ends]
    teach(given, [pair for pair in readers if None not in pair], name)


def spelled(tokenizer: Any, prompt: str) -> str:
    """A prompt with each learnt word of several tokens written as all of them, as diffusers' pipelines read it.

    Where there is no such word the tokenizer is not asked: of a long prompt it would warn that the model fails on it.
    """
    words = tokenizer.added_tokens_encoder
    if not any(f"{word}_1" in words for word in words):
        return prompt
    text: str = _loader().maybe_convert_prompt(prompt, tokenizer)
    return text


def _loader() -> Any:
    from diffusers.loaders import TextualInversionLoaderMixin

    loader = TextualInversionLoaderMixin()
    loader.components, loader.hf_device_map = {}, None  # what it looks for hooks of offloading in
    return loader
