"""A byte-pair vocabulary of our own in CLIPTokenizer's files."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

LENGTH = 24  # tokens of a prompt with its two marks; longer ones are cut
VOCABULARY = 2000
START, END = "<|startoftext|>", "<|endoftext|>"
SUFFIX = "</w>"


def make_tokenizer(prompts: list[str], folder: Path, length: int = LENGTH) -> CLIPTokenizer:
    """Learns merges from the prompts, writes `vocab.json` and `merges.txt`, loads them as CLIP's tokenizer.

    The vocabulary has CLIP's order: bytes, bytes that end a word, merges, the two marks; any text has tokens.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = _merges(prompts, VOCABULARY - 2 * len(alphabet) - 2)
    tokens = [
        *alphabet,
        *(letter + SUFFIX for letter in alphabet),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=length)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _merges(prompts: list[str], count: int) -> list[tuple[str, str]]:
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=SUFFIX))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    alphabet = sorted({letter for prompt in prompts for letter in prompt if not letter.isspace()})
    room = count + len(alphabet) * 2
    trainer = trainers.BpeTrainer(vocab_size=room, end_of_word_suffix=SUFFIX, show_progress=False)
    tokenizer.train_from_iterator([prompt.replace(",", " , ") for prompt in prompts], trainer)
    learned = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(str(a), str(b)) for a, b in learned[:count]]
