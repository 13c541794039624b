"""A file of weights beside a model's own, found as a setting says it: LoRA, textual inversion."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from fcs.core.errors import UsageError, first_line

IN_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:/([\w./-]+\.safetensors))?")


@dataclass(frozen=True)
class WeightsFile:
    """One file of weights, and what is said of it.

    Attributes:
        path: safetensors.
        after: what follows an ``@``, None without one.
    """

    path: Path
    after: str | None

    @classmethod
    def of(cls, key: str, text: str, name: str) -> WeightsFile:
        """From a file, a folder or a hub name, each alone or with ``@`` and something.

        Args:
            key: that says it, for messages.
            text: ``FILE``, ``FOLDER``, ``OWNER/NAME`` or ``OWNER/NAME/FILE``, maybe with ``@...``.
            name: of the file in a folder that is named without one.

        Raises:
            UsageError: there is no such file, here or on the hub.
        """
        place, after = parted(text)
        path = Path(os.path.expanduser(place))
        file = path / name if path.is_dir() else path
        if file.suffix == ".safetensors" and file.is_file():
            return cls(file, after)
        in_hub = IN_HUB.fullmatch(place)
        if in_hub is None or path.exists() or in_hub[1].endswith(".safetensors"):
            raise UsageError.of(key, text, _expected(name))
        return cls(_fetched(key, text, in_hub[1], in_hub[2] or name, name), after)

    @property
    def sha256(self) -> str:
        """Of its content."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def parted(text: str) -> tuple[str, str | None]:
    """A place, and what follows its last ``@``; a file or folder that is there is a place as a whole."""
    place, sign, after = text.rpartition("@")
    return (place, after) if sign and not os.path.exists(os.path.expanduser(text)) else (text, None)


def _fetched(key: str, text: str, repository: str, file: str, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, file))
    except Exception as error:  # the client raises its own, httpx's and the file system's
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError.of(key, text, f"{_expected(name)} ({reason})") from error


def _expected(name: str) -> str:
    return f"a file .safetensors, a folder with {name}, or a hub name OWNER/NAME or OWNER/NAME/FILE"
