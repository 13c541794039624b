"""Chosen records as a page shows them: pictures of all runs side by side, and why they are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fcs.tools.report.charts import ABSENT, change, number
from fcs.tools.report.choose import Chosen, Reason
from fcs.tools.report.pictures import FINE, EmbeddedPictures, Picture
from fcs.tools.report.read import COSTS, FinishedRun, Key
from fcs.tools.report.scores import title, unit

KINDS = {
    "best": "best",
    "typical": "median",
    "worst": "worst",
    "gain": "gains most",
    "usual": "median difference",
    "loss": "loses most",
    "lot": "drawn by lot",
}


@dataclass(frozen=True)
class Shot:
    """A picture with its name; ``fine`` where its pixels are few enough to be seen one by one."""

    label: str
    picture: Picture

    @property
    def fine(self) -> bool:
        """Whether it is to be enlarged without smoothing."""
        return max(self.picture.width, self.picture.height) <= FINE


@dataclass(frozen=True)
class Card:
    """A record.

    Attributes:
        shard, key, prompt: of it.
        badges: why it is shown: what it can be filtered by (``kind|score|run|rank``), and the same in words.
        shots: its pictures, what was given first, the truth last.
        scores: (name, value in each run).
        missing: why there are no pictures from before the run; "" where there are.
    """

    shard: str
    key: str
    prompt: str
    badges: tuple[tuple[str, str], ...]
    shots: tuple[Shot, ...]
    scores: tuple[tuple[str, tuple[str, ...]], ...]
    missing: str


@dataclass(frozen=True)
class Choices:
    """What cards can be filtered by: (value, words) each."""

    kinds: list[tuple[str, str]]
    scores: list[tuple[str, str]]
    runs: list[tuple[str, str]]


@dataclass(frozen=True)
class Failure:
    """A code of failure.

    Attributes:
        code: of it.
        counts: failed records in each run.
        shares: of the most frequent code's, 0 to 100, in each run.
        samples: (run, shard, key, detail, input or None).
    """

    code: str
    counts: tuple[int, ...]
    shares: tuple[float, ...]
    samples: tuple[tuple[str, str, str, str, Picture | None], ...]


def cards(
    runs: Sequence[FinishedRun], chosen: Sequence[Chosen], shown: Sequence[Mapping[Key, EmbeddedPictures]]
) -> list[Card]:
    """The chosen records."""
    values = {name: [run.values(name) for run in runs] for name in dict.fromkeys(n for run in runs for n in run.scores)}
    return [_card(runs, one, [own.get(one.key) for own in shown], values) for one in chosen]


def choices(runs: Sequence[FinishedRun], chosen: Sequence[Chosen]) -> Choices:
    """What of these the chosen records offer."""
    reasons = [reason for one in chosen for reason in one.reasons]
    kinds, names, numbers = ({getattr(r, part) for r in reasons} for part in ("kind", "score", "run"))
    return Choices(
        [(kind, words) for kind, words in KINDS.items() if kind in kinds],
        [(name, title(name)) for name in runs[0].scores if name in names],
        [(str(place), run.name) for place, run in enumerate(runs) if place and place in numbers],
    )


def failures(
    runs: Sequence[FinishedRun],
    broken: Sequence[Mapping[str, list[tuple[Key, str]]]],
    shown: Sequence[Mapping[Key, EmbeddedPictures]],
) -> list[Failure]:
    """Failed records by code, the most frequent first."""
    counts = [_codes(run) for run in runs]
    codes = sorted(
        {code for own in counts for code in own}, key=lambda code: (-sum(c.get(code, 0) for c in counts), code)
    )
    most = max((count for own in counts for count in own.values()), default=1)
    found = []
    for code in codes:
        own = tuple(count.get(code, 0) for count in counts)
        samples = [
            (run.name, *key, detail, seen[key].given if key in seen else None)
            for run, bad, seen in zip(runs, broken, shown, strict=True)
            for key, detail in bad.get(code, ())
        ]
        found.append(Failure(code, own, tuple(100 * count / most for count in own), tuple(samples)))
    return found


def _codes(run: FinishedRun) -> dict[str, int]:
    found: dict[str, int] = {}
    for error in run.bad["error"].to_pylist():
        code = (error or "unknown").partition(":")[0]
        found[code] = found.get(code, 0) + 1
    return found


def _card(
    runs: Sequence[FinishedRun],
    one: Chosen,
    seen: Sequence[EmbeddedPictures | None],
    values: Mapping[str, list[dict[Key, float]]],
) -> Card:
    known = [own for own in seen if own is not None]
    numbers = {name: tuple(_text(own.get(one.key)) for own in columns) for name, columns in values.items()}
    missing = "" if any(own.given for own in known) else next((own.missing for own in known), "")
    return Card(
        *one.key,
        next((own.prompt for own in known if own.prompt), ""),
        tuple(
            (f"{own.kind}|{own.score}|{own.run}|{own.rank}", _badge(own, one.key, runs, values)) for own in one.reasons
        ),
        tuple(_shots([run.name for run in runs], seen)),
        tuple((title(name), column) for name, column in numbers.items() if name not in COSTS),
        missing,
    )


def _badge(reason: Reason, key: Key, runs: Sequence[FinishedRun], values: Mapping[str, list[dict[Key, float]]]) -> str:
    if not reason.score:
        return KINDS[reason.kind]
    own = values[reason.score][reason.run][key]
    if not reason.run:
        return f"{KINDS[reason.kind]} {title(reason.score)} {number(own)} {unit(reason.score)}".rstrip()
    apart = own - values[reason.score][0][key]
    beside = f" ({runs[reason.run].name})" if len(runs) > 2 else ""
    return f"{KINDS[reason.kind]}: {title(reason.score)} {change(apart)}{beside}"


def _shots(names: Sequence[str], seen: Sequence[EmbeddedPictures | None]) -> Iterator[Shot]:
    """Input and mask, what each run made, the reference; what is the same in several runs once."""
    known = [(name, own) for name, own in zip(names, seen, strict=True) if own is not None]
    for part, label in (("given", "input"), ("mask", "mask")):
        yield from _once(label, [(name, getattr(own, part)) for name, own in known])
    for name, own in known:
        for what, picture in own.made.items():
            alone = "result" if len(names) == 1 else name
            yield Shot(alone if what == "result" else what if len(names) == 1 else f"{name}: {what}", picture)
    yield from _once("reference", [(name, own.reference) for name, own in known])


def _once(label: str, pictures: Sequence[tuple[str, Picture | None]]) -> Iterator[Shot]:
    found: dict[Picture, str] = {}
    for name, picture in pictures:
        if picture is not None:
            found.setdefault(picture, name)
    for picture, name in found.items():
        yield Shot(label if len(found) == 1 else f"{label} ({name})", picture)


def _text(value: float | None) -> str:
    return ABSENT if value is None else number(value)
