"""A classifier of several attributes of a picture, with what is known of their distribution."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

WIDTHS = (32, 64, 96)
DESCRIPTION = "attributes.json"
BATCH = 250


@dataclass(frozen=True)
class Attribute:
    """A property that every picture has in exactly one class.

    Attributes:
        name: as records name it.
        classes: their names.
        probabilities: of the classes, ``(C,)``, in the world that the pictures are drawn from.
    """

    name: str
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Attributes that are drawn independently of each other, but for pairs of classes that do not occur.

    Attributes:
        attributes: all of them.
        excluded: pairs ``((attribute, class), (attribute, class))`` by number, all of the same two attributes.
    """

    attributes: tuple[Attribute, ...]
    excluded: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = ()

    @classmethod
    def read(cls, path: Path) -> World:
        """What a ``attributes.json`` says."""
        said = json.loads(path.read_text())
        attributes = tuple(
            Attribute(one["name"], tuple(one["classes"]), np.array(one["probabilities"])) for one in said["attributes"]
        )
        pairs = (((a["attribute"], a["class"]), (b["attribute"], b["class"])) for a, b in said["excluded"])
        return cls(attributes, tuple(pairs))

    def as_json(self) -> str:
        """The text that ``read`` reads."""
        attributes = [
            {"name": one.name, "classes": list(one.classes), "probabilities": one.probabilities.tolist()}
            for one in self.attributes
        ]
        excluded = [[{"attribute": a, "class": c} for a, c in pair] for pair in self.excluded]
        return json.dumps({"attributes": attributes, "excluded": excluded}, indent=1) + "\n"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the attributes."""
        return tuple(one.name for one in self.attributes)

    def labels(self, classes: Mapping[str, str]) -> list[int]:
        """Class numbers of a picture whose classes are given by name.

        Raises:
            KeyError: an attribute that is missing.
            ValueError: a class that an attribute has not.
        """
        return [one.classes.index(classes[one.name]) for one in self.attributes]

    def posterior(self, attribute: int, known: Mapping[int, int]) -> NDArray[np.float64]:
        """Probabilities of an attribute's classes, ``(C,)``, where the classes ``known`` of others are shown.

        They are the attribute's own, unless classes of it do not occur with a class of another attribute.

        Args:
            attribute: its number.
            known: classes by the numbers of the attributes.
        """
        own = self.attributes[attribute].probabilities
        partner, pairs = self._excluded_with(attribute)
        if partner is None:
            return own
        table = np.outer(own, self.attributes[partner].probabilities)
        table[tuple(np.array(pairs).T)] = 0
        found: NDArray[np.float64] = table[:, known[partner]] if partner in known else table.sum(1)
        return found / found.sum()

    def _excluded_with(self, attribute: int) -> tuple[int | None, list[tuple[int, int]]]:
        """The attribute that excludes classes of this one, and the pairs (class of this one, class of that one)."""
        pairs = [pair if pair[0][0] == attribute else pair[::-1] for pair in self.excluded]
        own = [(a[1], b[1]) for a, b in pairs if a[0] == attribute]
        return (pairs[0][1][0] if own else None), own


class Block(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(N, width, H, W)`` of features."""
        h = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            h = convolution(F.relu(norm(h)))
        return x + h


class AttributeClassifier(nn.Module):
    """Logits of every attribute's classes from pictures ``(N, 3, 64, 64)`` in [-1, 1].

    The last map, 8 x 8, goes to the heads as it is, not averaged: eyes, brows and mouths have their places.

    Args:
        classes: how many each attribute has.
    """

    def __init__(self, classes: Sequence[int]) -> None:
        super().__init__()
        self.classes = list(classes)
        steps = zip((3, *WIDTHS), WIDTHS, strict=False)
        self.halvings = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in steps)
        self.blocks = nn.ModuleList(Block(width) for width in WIDTHS)
        self.leave = nn.Conv2d(WIDTHS[-1], 16, 1)
        self.heads = nn.Linear(16 * 8 * 8, sum(classes))

    def features(self, x: Tensor) -> list[Tensor]:
        """Maps 32, 16 and 8 wide."""
        maps: list[Tensor] = []
        for halving, block in zip(self.halvings, self.blocks, strict=True):
            maps.append(block(halving(F.relu(maps[-1]) if maps else x)))
        return maps

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits ``(N, classes)`` of each attribute."""
        return self.read(self.features(x)[-1])

    def read(self, last: Tensor) -> list[Tensor]:
        """The same from the last of ``features``."""
        logits: Tensor = self.heads(F.dropout(self._flat(last), 0.2, self.training))
        return [*torch.tensor_split(logits, np.cumsum(self.classes)[:-1].tolist(), 1)]

    def _flat(self, last: Tensor) -> Tensor:
        return F.relu(self.leave(F.relu(last))).flatten(1)

    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        """What the heads see, ``(N, 1024)``, of pictures ``(N, 3, 64, 64)`` in [-1, 1]."""
        return torch.cat([self._flat(self.features(part)[-1]) for part in torch.split(x, BATCH)])

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The likeliest classes ``(N, attributes)`` of pictures ``(N, 3, 64, 64)`` in [-1, 1]."""
        return torch.cat([torch.stack([own.argmax(1) for own in self(part)], 1) for part in torch.split(x, BATCH)])

    @classmethod
    def load(cls, path: Path, classes: Sequence[int]) -> AttributeClassifier:
        """The weights of a file in float32, frozen, in evaluation mode."""
        net = cls(classes).eval().requires_grad_(False)
        net.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return net


def read_folder(folder: Path) -> tuple[AttributeClassifier, World]:
    """A classifier and the world that it reads: ``model.safetensors`` beside ``attributes.json``."""
    world = World.read(folder / DESCRIPTION)
    return AttributeClassifier.load(folder / "model.safetensors", [len(a.classes) for a in world.attributes]), world
