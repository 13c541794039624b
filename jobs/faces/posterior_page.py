"""Tables of comparisons on faces for a page, between marks that name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from faces.posterior_summary import Entry, best, by_model, mean, parts, price, table, title
from fcs.bench.methods import METHODS
from fcs.bench.tables import markdown
from fcs.core.errors import UsageError

HEAD = ("method", "setting", "calls", "consistency", "total variation", "energy")
DIGITS = {"consistency": (3, 3), "tv": (3, 3), "energy_own": (1, 2)}  # of a figure, and of its paired difference
BLOCK = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, sets: Mapping[str, Mapping[str, Entry]]) -> str:
    """The page with its tables anew: of a set (``<!-- table: MODEL, MASK -->``) or all sets of a model (``MODEL``).

    Raises:
        UsageError: a mark that names nothing of the sets.
    """
    models = by_model(sets)

    def made(name: str) -> str | None:
        if name in sets:
            return intervals(sets[name])
        return table(models[name]) if name in models else None

    return fill(page, made, f"a set or a model: {', '.join(sets)}")


def fill(page: str, made: Callable[[str], str | None], known: str) -> str:
    """The page with the table that ``made`` gives for each mark's name.

    Raises:
        UsageError: a name for which it gives none; ``known`` says what is.
    """

    def anew(found: re.Match[str]) -> str:
        text = made(found[2])
        if text is None:
            raise UsageError.of("--page", found[2], known)
        return f"{found[1]}\n{text}\n{found[3]}"

    return BLOCK.sub(anew, page)


def intervals(rows: Mapping[str, Entry]) -> str:
    """A set's rows, the best energy score first: figures, and their paired differences to the row of reference."""
    known = next(iter(rows.values()))
    perfect = ["a perfect sampler", None, None, best(known, "consistency"), best(known, "tv"), None]
    ordered = sorted(rows.items(), key=lambda item: item[1]["energy_own"]["mean"])
    most = max(one["records"] for one in rows.values())
    return markdown(HEAD, [perfect, *(line(name, one, most) for name, one in ordered)])


def line(name: str, one: Entry, most: int) -> list[str]:
    """A row's cells; of one on fewer records than the ``most`` of its set, how many."""
    fewer = [] if one["records"] == most else [f"{one['records']} records"]
    shown = []
    for figure, (own, of_difference) in DIGITS.items():
        value, apart = mean(one, figure), one["difference"].get(figure)
        text = "" if value is None else f"{value:.{own}f}"
        shown.append(text if apart is None else f"{text}; {difference(apart, of_difference)}")
    settings = ", ".join(part for part in (setting(name, one), *fewer) if part)
    return [title(name), settings, price(one), *shown]


def difference(apart: Mapping[str, float], digits: int) -> str:
    """A paired difference and its interval."""
    return f"{apart['mean']:+.{digits}f} ({apart['low']:.{digits}f} to {apart['high']:.{digits}f})"


def setting(name: str, one: Entry) -> str:
    """What a row's setting has that the method's published one has not; nothing of one that asks no network."""
    if not one["calls"]:
        return ""
    method = METHODS.get(parts(name)[0])
    published = {} if method is None else method.published(one["levels"], False)
    own = [f"{key} {value:.3g}" for key, value in one["setting"].items() if published.get(key) != value]
    return ", ".join(own or ["published"])
