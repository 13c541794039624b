"""A model's files on disk, whatever their layout."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fcs.core.denoiser import Predicts
from fcs.core.errors import UsageError
from fcs.models.base import Schedule
from fcs.models.schedules import schedule_of

HASHED = (".safetensors", ".json", ".txt", ".model", ".jinja")
# A part's weights, whole or one of several files; both places of the variant are in use.
_WEIGHTS = re.compile(r"(?:diffusion_pytorch_)?model(?:\.(\w+))?(?:-\d+-of-\d+(?:\.(\w+))?)?\.safetensors")
PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5")


@dataclass(frozen=True)
class Found:
    """A model's files on disk.

    Attributes:
        name: as the user gave it.
        path: a diffusers folder or a single-file checkpoint.
        revision: the hub commit, None for what is not from a hub.
        variant: of the weights' files, such as ``fp16``; None for those without one.
    """

    name: str
    path: Path
    revision: str | None = None
    variant: str | None = None

    @property
    def label(self) -> str:
        """The name for files that go elsewhere: a hub's or embedded one, or a path's last part."""
        return self.name if self.revision is not None else self.path.resolve().name

    @property
    def files(self) -> list[Path]:
        """All weights and what says how they are used (configs, schedule, tokens)."""
        parts = (path for path in self.path.glob("*/*") if path.suffix in HASHED)
        return [self.path] if self.path.is_file() else sorted(parts)

    def sha256(self) -> str:
        """Hash over all files, by name and content."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(str(file.relative_to(self.path)).encode() + b"\0")
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()

    @property
    def is_file(self) -> bool:
        """Whether it is a single-file checkpoint."""
        return self.path.is_file()

    @cached_property
    def index(self) -> dict[str, Any]:
        """A folder's model_index.json: which class of which library each part is.

        Raises:
            UsageError: it cannot be read.
        """
        return self.json("model_index.json")

    def json(self, place: str) -> dict[str, Any]:
        """A JSON file of the folder.

        Raises:
            UsageError: it cannot be read, or holds no mapping.
        """
        try:
            content = json.loads((self.path / place).read_text())
        except (OSError, ValueError) as error:
            raise UsageError.of("model.name", self.name, f"a readable {place} in it ({error})") from error
        if not isinstance(content, dict):
            raise UsageError.of("model.name", self.name, f"a readable {place} in it (it holds no mapping)")
        return content

    def part(self, name: str) -> str | None:
        """The class of a part, by model_index.json; None where the folder has no such part."""
        entry = self.index.get(name)
        return str(entry[1]) if isinstance(entry, list) and len(entry) == 2 and entry[1] else None

    def require(self, *parts: str) -> None:
        """Check that the folder holds its parts; diffusers would take the path of a missing one for a hub name.

        Raises:
            UsageError: one is missing.
        """
        for part in parts:
            if not (self.path / part).is_dir():
                raise UsageError.of("model.name", self.name, f"a folder {part} in it")

    def require_weights(self, *parts: str) -> None:
        """Check that the folder holds each part's weights as safetensors, in the variant that was asked for.

        Raises:
            UsageError: it does not; the error says which variants there are, or how to convert what there is.
        """
        for part in parts:
            names = [path.name for path in (self.path / part).iterdir()]
            variants = set(map(weights_variant, names)) - {""}
            if self.variant in variants:
                continue
            others = sorted(variant for variant in variants if variant)
            if others or None in variants:
                ways = [f"model.variant={name}" for name in others]
                ways += ["no model.variant"] if None in variants else []
                raise UsageError.of("model.variant", self.variant, f"what {part} of {self.name} has: {', '.join(ways)}")
            pickled = next((name for name in names if name.endswith(PICKLED)), None)
            found = f"{pickled}, which may run code when it is read" if pickled else "none"
            way = "diffusers' save_pretrained(FOLDER) writes them"
            raise UsageError.of("model.name", self.name, f"weights as safetensors in {part}, not {found}; {way}")

    def schedule(self, config: dict[str, Any] | None = None) -> tuple[Predicts, Schedule]:
        """What the network predicts, and its levels.

        Args:
            config: a diffusers scheduler's; the folder's own if left out.

        Raises:
            UsageError: a scheduler of another prediction.
        """
        return schedule_of(self.json("scheduler/scheduler_config.json") if config is None else config, self.name)


def weights_variant(name: str) -> str | None:
    """The variant of a file of weights: ``fp16``, or None for one without; empty for a file that is none."""
    found = _WEIGHTS.fullmatch(name)
    return (found[1] or found[2]) if found else ""
