"""What a face of faces-64 is made of: attributes, their classes, how likely each is, and which pairs are held out.

The classes are those of python-avatars (Avataaars) that can be told apart at 64 px under every setting of the other
attributes: no hair hides brows, eyes, mouth or shoulders; no glasses are dark; hair and skin colours lie far apart,
because a beard has the hair's colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcs.metrics import attributes as known


@dataclass(frozen=True)
class Choice:
    """One class: its name in captions, its member of python-avatars (or a colour), and its probability."""

    name: str
    member: str
    probability: float


@dataclass(frozen=True)
class Attribute:
    """A property of a face; ``part`` is the argument of ``python_avatars.Avatar`` that sets it.

    ``phrases`` are what captions say of a class, with its name for ``{}``.
    """

    name: str
    part: str
    phrases: tuple[str, ...]
    choices: tuple[Choice, ...]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of the classes, in order."""
        return np.array([choice.probability for choice in self.choices])


def _uniform(name: str, part: str, phrases: tuple[str, ...], members: dict[str, str]) -> Attribute:
    """An attribute whose classes, python-avatars' members by our names, are equally likely."""
    choices = (Choice(key, member, 1 / len(members)) for key, member in members.items())
    return Attribute(name, part, phrases, tuple(choices))


def _optional(name: str, part: str, phrases: tuple[str, ...], none: str, members: dict[str, str]) -> Attribute:
    """The same with a class of nothing at all, of probability .4: most faces wear little."""
    choices = (Choice(key, member, 0.6 / len(members)) for key, member in members.items())
    return Attribute(name, part, phrases, (Choice(none, "NONE", 0.4), *choices))


ATTRIBUTES = (
    _uniform(
        "hair",
        "top",
        ("{} hair", "{} hairstyle"),
        {
            "bob": "BOB",
            "bun": "BUN",
            "afro": "FRO",
            "headband": "FRO_BAND",
            "layered": "LONG_NOT_TOO_LONG",
            "mullet": "SHAGGY_MULLET",
            "twisted": "SHORT_DREADS_2",
            "wavy": "SHORT_WAVED",
            "braided": "BRAIDS",
            "cornrow": "CORNROWS",
            "frizzy": "EINSTEIN_HAIR",
            "spiky": "EVIL_SPIKE",
            "messy": "MOWGLI",
            "quiff": "QUIFF",
            "dreadlock": "TWIST_LONG_HAIR",
            "bridal": "BRIDE",
        },
    ),
    _uniform(
        "hair colour",
        "hair_color",
        ("hair dyed {}", "{} hair colour"),
        {
            "black": "#2C1B18",
            "crimson": "#C8102E",
            "magenta": "#E056B0",
            "silver": "#9AA0A8",
            "navy": "#3C64BE",
            "emerald": "#3F9950",
        },
    ),
    _uniform(
        "skin",
        "skin_color",
        ("{} skin", "{} complexion"),
        {"pale": "PALE", "peach": "LIGHT", "yellow": "YELLOW", "tan": "BROWN", "brown": "DARK_BROWN"},
    ),
    _uniform(
        "brows",
        "eyebrows",
        ("{} brows", "{} eyebrows"),
        {
            "angry": "ANGRY_NATURAL",
            "flat": "FLAT_NATURAL",
            "raised": "RAISED_EXCITED_NATURAL",
            "worried": "SAD_CONCERNED_NATURAL",
        },
    ),
    _uniform(
        "eyes",
        "eyes",
        ("{} eyes", "eyes that are {}"),
        {"open": "DEFAULT", "closed": "CLOSED", "hearts": "HEART", "rolling": "EYE_ROLL"},
    ),
    _uniform(
        "mouth",
        "mouth",
        ("{} mouth", "{}"),
        {
            "smiling": "SMILE",
            "frowning": "SAD",
            "grimacing": "GRIMACE",
            "screaming": "SCREAM_OPEN",
            "licking": "TONGUE",
            "vomiting": "VOMIT",
        },
    ),
    _optional(
        "beard",
        "facial_hair",
        ("{}", "with {}"),
        "no beard",
        {"light beard": "BEARD_LIGHT", "full beard": "BEARD_MEDIUM", "moustache": "MOUSTACHE_FANCY"},
    ),
    _optional(
        "accessory",
        "accessory",
        ("{}", "wearing {}"),
        "no glasses",
        {"eyepatch": "EYEPATCH", "square glasses": "PRESCRIPTION_2", "round glasses": "ROUND"},
    ),
    _uniform(
        "clothes",
        "clothing",
        ("{}", "in a {}"),
        {
            "blazer": "BLAZER_SHIRT",
            "sweater": "COLLAR_SWEATER",
            "hoodie": "HOODIE",
            "shirt": "SHIRT_SCOOP_NECK",
            "apron": "CHEF",
        },
    ),
    _uniform(
        "clothes colour",
        "clothing_color",
        ("{} clothes", "dressed in {}"),
        {"dark": "BLACK", "blue": "BLUE_02", "grey": "GRAY_02", "mint": "PASTEL_GREEN", "pink": "PINK"},
    ),
)
NAMES = tuple(attribute.name for attribute in ATTRIBUTES)
HAIR, ACCESSORY = NAMES.index("hair"), NAMES.index("accessory")

# Four hair styles of each accessory but none; every style is trained with two accessories at least.
HELD_OUT = frozenset((hair, 1 + hair % 4) for hair in range(len(ATTRIBUTES[HAIR].choices)) if hair % 4 < 3)


def held_out(hair: int, accessory: int) -> bool:
    """Whether this pair of classes is never trained on."""
    return (hair, accessory) in HELD_OUT


def world() -> known.World:
    """The same as the library knows it: what ships beside the classifier's weights."""
    attributes = (known.Attribute(a.name, tuple(c.name for c in a.choices), a.probabilities) for a in ATTRIBUTES)
    pairs = (((HAIR, hair), (ACCESSORY, accessory)) for hair, accessory in sorted(HELD_OUT))
    return known.World(tuple(attributes), tuple(pairs))
