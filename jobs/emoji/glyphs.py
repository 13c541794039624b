"""The glyphs of Noto Color Emoji: which ones, what they are called, and their bitmaps."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
BITMAP = 136  # the font's bitmaps are 136 x 128 at size 109; ours are padded to squares
TONES = {
    0x1F3FB: "light",
    0x1F3FC: "medium light",
    0x1F3FD: "medium",
    0x1F3FE: "medium dark",
    0x1F3FF: "dark",
}
GENDERS = {0x2642: "man", 0x2640: "woman"}
PERSONS = {0x1F9D1: "person", 0x1F468: "man", 0x1F469: "woman"}
HAIR = range(0x1F9B0, 0x1F9B4)  # drawn as dashed heads alone, as hair after a person
JOINER = 0x200D

# Letters and digits in boxes, words, dashed components and plain squares: drawings of text, or of nothing.
EXCLUDED = re.compile(
    r"SQUARED|LATIN|IDEOGRAPH|INPUT SYMBOL|KEYCAP|DIGIT|^TAG |CANCEL TAG|REGIONAL INDICATOR|EMOJI MODIFIER|"
    r"EMOJI COMPONENT|(LARGE|MEDIUM|SMALL) SQUARE|ARROWS? ABOVE|SPACE|JOINER|^(NUMBER SIGN|ASTERISK)$|"
    r"(COPYRIGHT|REGISTERED|TRADE MARK) SIGN|INFORMATION SOURCE|EIGHTEEN|HUNDRED POINTS|AUTOMATED TELLER|"
    r"WATER CLOSET|ONE OVERLAY|SERVICE MARK"
)
# Not to be mirrored: their names, or the writing on them, say which way they face.
DIRECTED = re.compile(
    r"ARROW|LEFT|RIGHT|CLOCK|WATCH|QUARTER|CRESCENT|GIBBOUS|WEST|EAST|NORTHERN|HOUR|CALENDAR|DATE|ABACUS|"
    r"TELEPHONE|QUESTION|MUSICAL|NOTE|DOLLAR|YEN|EURO|POUND|MAIL|MAP|GLOBE|BUILDING|NO ENTRY|OM SYMBOL|"
    r"YIN YANG|CHECK|BUS STOP|"
    r"NEWSPAPER|BEVERAGE|ARIES|TAURUS|GEMINI|CANCER|LEO|VIRGO|"
    r"LIBRA|SCORPIUS|SAGITTARIUS|CAPRICORN|AQUARIUS|"
    r"PISCES|OPHIUCHUS|BADGE|MEDAL|CARD|TILE|HOTEL|STORE|SCHOOL|BANK|OFFICE|HOSPITAL|POOL 8|BILLIARDS|PIRATE"
)


@dataclass(frozen=True)
class Glyph:
    """One drawing: its code points, the prompt that describes it, whether mirroring keeps the prompt true."""

    codepoints: tuple[int, ...]
    prompt: str
    mirrors: bool

    @property
    def key(self) -> str:
        """The code points in hexadecimal, without dots: a record's key."""
        return "-".join(f"{point:x}" for point in self.codepoints)

    @property
    def root(self) -> tuple[int, ...]:
        """The code points without skin tone and gender: equal roots are always one family."""
        kept = tuple(p for p in self.codepoints if p not in TONES and p not in GENDERS and p != JOINER)
        return (0x1F9D1, *kept[1:]) if len(kept) > 1 and kept[0] in PERSONS else kept


class Font:
    """Noto Color Emoji at its bitmap size.

    Raises:
        RuntimeError: if Pillow has no Raqm, without which sequences are not joined to one glyph.
    """

    def __init__(self, path: Path = FONT) -> None:
        if not features.check("raqm"):
            raise RuntimeError("Pillow needs libraqm to draw emoji sequences")
        tables = TTFont(path)
        self.version = str(tables["name"].getDebugName(5))
        self.codepoints = sorted(tables.getBestCmap())
        self.font = ImageFont.truetype(str(path), 109)

    def is_one(self, codepoints: tuple[int, ...]) -> bool:
        """Whether the font joins the code points to a single glyph."""
        return self.font.getlength(_text(codepoints)) < 1.5 * BITMAP

    def draw(self, codepoints: tuple[int, ...]) -> NDArray[np.uint8]:
        """The bitmap, (136, 136, 4), straight alpha."""
        image = Image.new("RGBA", (BITMAP, BITMAP))
        ImageDraw.Draw(image).text((0, 4), _text(codepoints), font=self.font, embedded_color=True)
        return np.asarray(image)


def _text(codepoints: tuple[int, ...]) -> str:
    return "".join(map(chr, codepoints))


def glyph_list(font: Font) -> list[Glyph]:
    """All single code points with a Unicode name, their skin tones, and joined sequences without tones.

    Flags of countries are left out: two hundred near-equal waving rectangles would be a tenth of the data,
    and a flag's fill is knowledge, not continuation.
    """
    singles = [p for p in font.codepoints if (name := _name(p)) and not EXCLUDED.search(name)]
    toned = [(p, tone) for p in singles for tone in TONES if font.is_one((p, tone))]
    gendered = [(p, JOINER, g) for p in singles for g in GENDERS if font.is_one((p, JOINER, g))]
    things = [p for p in font.codepoints if p in HAIR or (p in singles and p not in GENDERS)]
    roles = [(who, JOINER, p) for who in PERSONS for p in things if font.is_one((who, JOINER, p))]
    return [_glyph(points) for points in [*((p,) for p in singles), *toned, *gendered, *roles]]


def _name(codepoint: int) -> str:
    return unicodedata.name(chr(codepoint), "")


def _glyph(codepoints: tuple[int, ...]) -> Glyph:
    names = " ".join(_name(p) for p in codepoints)
    return Glyph(codepoints, _prompt(codepoints), not DIRECTED.search(names))


def _prompt(codepoints: tuple[int, ...]) -> str:
    """The Unicode name in lower case; tone, gender and attribute of a sequence put into words."""
    first, last = codepoints[0], codepoints[-1]
    if last in TONES:
        return f"{_plain(first)}, {TONES[last]} skin tone"
    if last in GENDERS and len(codepoints) > 1:
        name, found = re.subn(r"\b(person|man|woman)\b", GENDERS[last], _plain(first), count=1)
        return name if found else f"{GENDERS[last]}, {name}"
    if JOINER in codepoints:
        return f"{PERSONS[first]} with {_plain(last)}"
    return _plain(first)


def _plain(codepoint: int) -> str:
    """The name without typographers' words: in old blocks "heavy black heart" is the red heart."""
    name = _name(codepoint).lower().replace("emoji component bald", "a bald head").removeprefix("emoji component ")
    if codepoint < 0x3000 and "circle" not in name:
        name = re.sub(r"\b(black|white|heavy) ", "", name)
    return name.replace("-", " ")
