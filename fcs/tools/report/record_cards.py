"""The records that a page shows: their pictures in all runs side by side, their scores, and why they were selected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fcs.tools.report.embedded_picture import FINE, EmbeddedPicture
from fcs.tools.report.finished_run import COSTS, FinishedRun, Key
from fcs.tools.report.number_format import number, number_or_dash, signed_number
from fcs.tools.report.record_pictures import RecordPictures
from fcs.tools.report.record_selection import SelectedRecord, SelectionReason
from fcs.tools.report.score_names import title, unit

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
class LabelledPicture:
    """A picture with its label; ``fine`` where it has so few pixels that it is enlarged without smoothing."""

    label: str
    picture: EmbeddedPicture

    @property
    def fine(self) -> bool:
        """Whether it is to be enlarged without smoothing."""
        return max(self.picture.width, self.picture.height) <= FINE


@dataclass(frozen=True)
class RecordCard:
    """A record on the page.

    Attributes:
        shard, key, prompt: of the record.
        badges: why it is shown: the value that filters use (``kind|score|run|rank``), and the same in words.
        pictures: the input first, the reference last.
        scores: (name, value in each run).
        missing: why its input is not shown; "" where it is.
    """

    shard: str
    key: str
    prompt: str
    badges: tuple[tuple[str, str], ...]
    pictures: tuple[LabelledPicture, ...]
    scores: tuple[tuple[str, tuple[str, ...]], ...]
    missing: str


@dataclass(frozen=True)
class CardFilters:
    """What the cards can be filtered by: (value, words) each."""

    kinds: list[tuple[str, str]]
    scores: list[tuple[str, str]]
    runs: list[tuple[str, str]]


def record_cards(
    runs: Sequence[FinishedRun], selected: Sequence[SelectedRecord], pictures: Sequence[Mapping[Key, RecordPictures]]
) -> list[RecordCard]:
    """A card for each of the selected records; ``pictures`` are those of each run."""
    names = dict.fromkeys(name for run in runs for name in run.score_names)
    scores = {name: [run.scores(name) for run in runs] for name in names}
    return [_card(runs, one, [own.get(one.key) for own in pictures], scores) for one in selected]


def card_filters(runs: Sequence[FinishedRun], selected: Sequence[SelectedRecord]) -> CardFilters:
    """The filters that select at least one of these records."""
    reasons = [reason for one in selected for reason in one.reasons]
    kinds, scores, numbers = ({getattr(reason, part) for reason in reasons} for part in ("kind", "score", "run"))
    return CardFilters(
        [(kind, words) for kind, words in KINDS.items() if kind in kinds],
        [(name, title(name)) for name in runs[0].score_names if name in scores],
        [(str(place), run.name) for place, run in enumerate(runs) if place and place in numbers],
    )


def _card(
    runs: Sequence[FinishedRun],
    record: SelectedRecord,
    pictures: Sequence[RecordPictures | None],
    scores: Mapping[str, list[dict[Key, float]]],
) -> RecordCard:
    known = [own for own in pictures if own is not None]
    columns = {name: tuple(number_or_dash(own.get(record.key)) for own in by_run) for name, by_run in scores.items()}
    missing = "" if any(own.given for own in known) else next((own.missing for own in known), "")
    return RecordCard(
        *record.key,
        next((own.prompt for own in known if own.prompt), ""),
        tuple(
            (f"{own.kind}|{own.score}|{own.run}|{own.rank}", _badge(own, record.key, runs, scores))
            for own in record.reasons
        ),
        tuple(_labelled([run.name for run in runs], pictures)),
        tuple((title(name), values) for name, values in columns.items() if name not in COSTS),
        missing,
    )


def _badge(
    reason: SelectionReason, key: Key, runs: Sequence[FinishedRun], scores: Mapping[str, list[dict[Key, float]]]
) -> str:
    if not reason.score:
        return KINDS[reason.kind]
    own = scores[reason.score][reason.run][key]
    if not reason.run:
        return f"{KINDS[reason.kind]} {title(reason.score)} {number(own)} {unit(reason.score)}".rstrip()
    difference = own - scores[reason.score][0][key]
    run = f" ({runs[reason.run].name})" if len(runs) > 2 else ""
    return f"{KINDS[reason.kind]}: {title(reason.score)} {signed_number(difference)}{run}"


def _labelled(names: Sequence[str], pictures: Sequence[RecordPictures | None]) -> Iterator[LabelledPicture]:
    """Input and mask, the results of each run, the reference; a picture that several runs share only once."""
    known = [(name, own) for name, own in zip(names, pictures, strict=True) if own is not None]
    for part, label in (("given", "input"), ("mask", "mask")):
        yield from _once(label, [(name, getattr(own, part)) for name, own in known])
    for name, own in known:
        for what, picture in own.results.items():
            single = "result" if len(names) == 1 else name
            yield LabelledPicture(
                single if what == "result" else what if len(names) == 1 else f"{name}: {what}", picture
            )
    yield from _once("reference", [(name, own.reference) for name, own in known])


def _once(label: str, pictures: Sequence[tuple[str, EmbeddedPicture | None]]) -> Iterator[LabelledPicture]:
    found: dict[EmbeddedPicture, str] = {}
    for name, picture in pictures:
        if picture is not None:
            found.setdefault(picture, name)
    for picture, name in found.items():
        yield LabelledPicture(label if len(found) == 1 else f"{label} ({name})", picture)
