"""Numbers as people read them."""

from __future__ import annotations

MINUS, THIN_SPACE, DASH = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}", "\N{EN DASH}"

_RAISED = str.maketrans("-0123456789", "\N{SUPERSCRIPT MINUS}⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float) -> str:
    """A number with four significant digits; from ten million on with M, G or T."""
    for least, size, letter in ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e7, 1e6, "M")):
        if abs(value) >= least:
            return f"{value / size:.4g} {letter}".replace("-", MINUS)
    form = ",.0f" if abs(value) >= 1000 else ".2g" if abs(value) < 1e-3 else ".4g"
    digits, _, power = f"{value:{form}}".replace(",", THIN_SPACE).partition("e")
    raised = f"\N{MULTIPLICATION SIGN}10{str(int(power)).translate(_RAISED)}" if power else ""
    return digits.replace("-", MINUS) + raised


def number_or_dash(value: float | None) -> str:
    """A number, or a dash where there is none."""
    return DASH if value is None else number(value)


def signed_number(value: float) -> str:
    """A difference, with its sign."""
    return f"+{number(value)}" if value > 0 else number(value)
