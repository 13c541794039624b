"""What the names in a folder of pictures say: which file is a picture, and which is its mask, prompt or facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

PICTURES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".heic", ".heif", ".jxl"),  # the last three: to be named
)
MASK = ".mask"
_BESIDE = {".txt": "prompt", ".json": "facts", ".npy": "measurement"}
_USUAL = (f"{MASK}.png", *_BESIDE)  # ends that count before others of the same meaning
_DOUBTFUL = ("_mask", "-mask", " mask")


@dataclass(frozen=True)
class MaskNames:
    """How masks are told from pictures.

    Attributes:
        suffix: what a mask's name has between its picture's and the end, besides ``.mask``.
        folder: of masks that have the names of their pictures: in SOURCE, or a path; None where there is none.
        said: the user has chosen, so that no name is in doubt.
    """

    suffix: str = MASK
    folder: str | None = None
    said: bool = False


class FolderNames:
    """The names of the files in one folder, hidden ones apart.

    Args:
        names: in any order.
        masks: how masks are told from pictures.
        wanted: the role of the files that make a record each: ``image`` or ``measurement``.
    """

    def __init__(self, names: Iterable[str], masks: MaskNames, wanted: str = "image") -> None:
        self.wanted = wanted
        ends = dict.fromkeys((masks.suffix.lower(), MASK))
        self._masks = tuple(f"{suffix}{end}" for suffix in ends for end in PICTURES)
        self._files: dict[tuple[str, str], str] = {}
        self._others: list[str] = []
        for name in sorted(names, key=lambda name: (not name.endswith(_USUAL), name)):
            stem, role = self.split(name)
            if not role:
                self._others.append(name)
            elif (stem, role) not in self._files:
                self._files[stem, role] = name

    def split(self, name: str) -> tuple[str, str]:
        """The name that a picture and what belongs to it have in common, and what the file is; "" for anything else."""
        small = name.lower()
        for end in self._masks:
            if small.endswith(end) and len(name) > len(end):
                return name[: -len(end)], "mask"
        stem, dot, end = name.rpartition(".")
        role = "image" if f".{end.lower()}" in PICTURES else _BESIDE.get(f".{end.lower()}", "")
        return (stem, role) if dot and stem else (name, "")

    def find(self, stem: str, role: str) -> str | None:
        """The file of a role that has this name."""
        return self._files.get((stem, role))

    def passed_over(self) -> Counter[str]:
        """Ends of the names that make no record and belong to none, with their number."""
        own = {"mask", "prompt", "facts"} if self.wanted == "image" else {"prompt", "facts"}
        others = [
            name
            for (stem, role), name in self._files.items()
            if role != self.wanted and not (role in own and self.find(stem, self.wanted))
        ]
        return Counter(map(self._end, (*others, *self._others)))

    def doubt(self, stem: str) -> str | None:
        """The end of a picture's name that makes it look like the mask of another."""
        for end in _DOUBTFUL:
            if stem.lower().endswith(end) and self.find(stem[: -len(end)], "image"):
                return stem[-len(end) :]
        return None

    def find_mask(self, stem: str) -> str | None:
        """The mask of a picture, where this is a folder of masks: a name like the picture's, or one that says mask."""
        alike = (self.find(f"{stem}{end}", "image") for end in ("", *_DOUBTFUL))
        return self.find(stem, "mask") or next((name for name in alike if name), None)

    def has_picture_of(self, mask: str) -> bool:
        """Whether a picture has the name of this mask, in a folder of masks."""
        stem, _ = self.split(mask)
        ends = [end for end in _DOUBTFUL if stem.lower().endswith(end)]
        return any(self.find(name, "image") for name in (stem, *(stem[: -len(end)] for end in ends)))

    def _end(self, name: str) -> str:
        stem, role = self.split(name)
        end = name[len(stem) :] if role else name[name.rfind(".") :] if "." in name[1:] else ""
        return end.lower() or "without an end"
