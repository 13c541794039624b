"""What counts as text."""

from __future__ import annotations


def is_text(value: object) -> bool:
    """Whether a value is text that UTF-8 can hold.

    Half of a surrogate pair is none, though Python makes it of an escape in JSON, or of a byte in a file's name that is
    no UTF-8; no tokenizer takes it.
    """
    return isinstance(value, str) and value == value.encode(errors="ignore").decode()
