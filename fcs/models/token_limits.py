"""How much of a prompt a pipeline's text encoders read."""

from __future__ import annotations

from typing import Any

from fcs.models.textual_inversion import spelled


def truncates(pipe: Any, prompt: str, sequence_length: int | None) -> bool:
    """Whether every text encoder of a pipeline takes less than the whole of a prompt.

    One that reads all of it is enough: Flux's and SD 3's CLIP cut what their T5 reads. What a template adds around a
    prompt is not counted.

    Args:
        pipe: with its tokenizers.
        prompt: the text.
        sequence_length: tokens that encoders other than CLIP read; None for their tokenizers' own number.
    """
    tokenizers = [part for name, part in pipe.components.items() if name.startswith("tokenizer") and part is not None]
    if not tokenizers:
        return False
    longest = [(tokenizer, _limit(tokenizer, sequence_length)) for tokenizer in tokenizers]
    return all(_count(tokenizer, _read(pipe, tokenizer, prompt)) > limit for tokenizer, limit in longest)


def _read(pipe: Any, tokenizer: Any, prompt: str) -> str:
    """The prompt as the pipeline hands it to a tokenizer."""
    return spelled(tokenizer, prompt) if hasattr(pipe, "load_textual_inversion") else prompt


def _limit(tokenizer: Any, sequence_length: int | None) -> int:
    own = int(tokenizer.model_max_length)  # an enormous number where a tokenizer does not know
    return own if sequence_length is None or type(tokenizer).__name__.startswith("CLIP") else sequence_length


def _count(tokenizer: Any, prompt: str) -> int:
    return len(tokenizer(prompt, verbose=False).input_ids)
