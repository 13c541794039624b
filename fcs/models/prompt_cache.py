"""A pipeline's ``encode_prompt`` that reads each distinct prompt once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

KEPT_BYTES = 2**28  # of embeddings; those of a T5-XXL are 4 MB a prompt
KEPT_BATCHES = 8


class PromptCache:
    """Calls ``encode_prompt`` for each distinct prompt of a batch alone, and remembers what came out.

    Alone, since an embedding must not depend on which prompts came with it. Where embeddings of single prompts do not
    fit together (another length each, an unknown structure), the batch is encoded as the pipeline would.

    Args:
        encode: the pipeline's bound method.
    """

    def __init__(self, encode: Callable[..., Any]) -> None:
        self._encode = encode
        self._signature = inspect.signature(encode)
        self.clear()

    def clear(self) -> None:
        """Forget everything; after the model has moved to another device."""
        self._single: dict[str, Any] = {}
        self._batches: dict[str, Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What ``encode_prompt`` returns."""
        given = dict(self._signature.bind(*args, **kwargs).arguments)
        if any(isinstance(part, Tensor) for part in _parts(given.values())):
            return self._encode(**given)
        key = repr(given)
        if key not in self._batches:
            if len(self._batches) >= KEPT_BATCHES:
                self._batches.clear()
            self._batches[key] = self._encoded(given)
        return self._batches[key]

    def _encoded(self, given: dict[str, Any]) -> Any:
        lists = {name: texts for name, texts in given.items() if "prompt" in name and isinstance(texts, list)}
        count = max((len(texts) for texts in lists.values()), default=0)
        if count < 2 or any(len(texts) != count for texts in lists.values()):
            return self._encode(**given)
        rows = [self._one(given | {name: [texts[slot]] for name, texts in lists.items()}) for slot in range(count)]
        try:
            return together(rows)
        except ValueError:
            return self._encode(**given)

    def _one(self, given: dict[str, Any]) -> Any:
        key = repr(given)
        if key not in self._single:
            tensors = [part for part in _parts(self._single.values()) if isinstance(part, Tensor)]
            if sum(tensor.nbytes for tensor in tensors) > KEPT_BYTES:
                self._single.clear()
            self._single[key] = self._encode(**given)
        return self._single[key]


def together(rows: list[Any]) -> Any:
    """One structure for a batch from those of its prompts.

    Args:
        rows: of each prompt alone, tensors of which have a leading dimension of 1, or are the same for all prompts.

    Raises:
        ValueError: they do not fit together.
    """
    first = rows[0]
    if all(row is None for row in rows):
        return None
    if isinstance(first, tuple):
        return tuple(together([row[place] for row in rows]) for place in range(len(first)))
    if isinstance(first, list) and all(isinstance(part, Tensor) for part in first):
        return [part for row in rows for part in row]
    if all(isinstance(row, Tensor) and row.shape == first.shape for row in rows):
        if first.shape[0] == 1:
            return torch.cat(rows)
        if first.ndim == 2 and all(torch.equal(row, first) for row in rows):  # positions, which have no batch
            return first
    raise ValueError("embeddings that do not fit together")


def _parts(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _parts(value)
        else:
            yield value
