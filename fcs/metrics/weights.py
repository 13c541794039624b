"""Where the networks of scores and features are: known, or fetched, before a run begins."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from fcs.core.errors import UsageError, first_line
from fcs.models.files import HASHED
from fcs.models.loading import EMBEDDED, HUB_NAME

FOLDER_FILES = ["*.json", "*.txt", "*.safetensors"]
NEEDED = ("config.json", "preprocessor_config.json")
PATIENCE = 20.0  # seconds without an answer after which a download counts as impossible


@dataclass(frozen=True)
class Published:
    """A file of weights that everybody uses.

    Attributes:
        name: with the first eight digits of its SHA-256.
        url: where it is published.
    """

    name: str
    url: str

    @property
    def place(self) -> Path:
        """Where torch's hub keeps it."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.name


_INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
FILES = {
    "lpips": Published("alexnet-owt-7be5be79.pth", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"),
    "inception": Published(
        _INCEPTION, f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{_INCEPTION}"
    ),
}


def find(names: Sequence[str], given: dict[str, str | None]) -> dict[str, Path]:
    """Files or folders of the networks ``clip``, ``dinov2``, ``lpips``, ``inception``, as far as they are named.

    Args:
        names: those that are wanted; others need no weights of their own, or bring them along.
        given: what the configuration says of each: an embedded model, a path, a hub name, or None.

    Raises:
        UsageError: weights that are not there and cannot be fetched, with their names, their place and the reason.
    """
    found = {}
    for name in dict.fromkeys(names):
        key, value = f"metrics.{name}", given.get(name)
        if name in FILES:
            found[name] = _file(key, value, FILES[name])
        elif name in ("clip", "dinov2"):
            found[name] = _folder(key, value)
    return found


def files(path: Path) -> list[Path]:
    """A file, or a folder's weights and what says how they are used."""
    return [path] if path.is_file() else sorted(file for file in path.iterdir() if file.suffix in HASHED)


def sha256(path: Path) -> str:
    """Hash over ``files``."""
    digest = hashlib.sha256()
    for file in files(path):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _file(key: str, given: str | None, wanted: Published) -> Path:
    path = wanted.place if given is None else Path(os.path.expanduser(given))
    if path.is_file():
        return path
    if given is not None:
        raise UsageError.of(key, given, f"a file: {wanted.name}, from {wanted.url}")
    try:
        _fetch(wanted)
    except Exception as error:  # urllib's, the socket's, the file system's, torch's own
        reason = f"{type(error).__name__}: {first_line(error)}"
        expected = f"{wanted.name} in {path.parent}, from {wanted.url} ({reason}), or the key to say where it is"
        raise UsageError.of(key, "null", expected) from error
    return path


def _fetch(wanted: Published) -> None:
    if _offline():
        raise ConnectionError("HF_HUB_OFFLINE forbids to fetch it")
    wanted.place.parent.mkdir(parents=True, exist_ok=True)
    prefix = wanted.name.rpartition("-")[2].removesuffix(".pth")
    with _impatient():
        torch.hub.download_url_to_file(wanted.url, str(wanted.place), prefix, progress=False)


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


@contextmanager
def _impatient() -> Iterator[None]:
    """Torch's download waits for ever where a firewall swallows what it asks."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _folder(key: str, given: str | None) -> Path:
    what = "a folder in transformers' format with " + ", ".join((*NEEDED, "model.safetensors"))
    if given is None:
        raise UsageError.of(key, "null", f"{what}, or a hub name")
    embedded = EMBEDDED / given / "clip"
    path = embedded if embedded.is_dir() else Path(os.path.expanduser(given))
    if not path.exists() and HUB_NAME.fullmatch(given):
        path = _from_hub(key, given, what)
    absent = [name for name in NEEDED if not (path / name).is_file()]
    if not absent and not any(path.glob("*.safetensors")):
        absent = ["model.safetensors"]
    if absent:
        raise UsageError.of(key, given, f"{what}; there is no {path / absent[0]}")
    return path


def _from_hub(key: str, given: str, what: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(given, allow_patterns=FOLDER_FILES))
    except Exception as error:  # the client raises its own, httpx's and the file system's
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError.of(key, given, f"{what}, here or from the hub ({reason})") from error
