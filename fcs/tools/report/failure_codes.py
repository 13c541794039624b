"""Failed records by their code, with some of them as examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fcs.tools.report.embedded_picture import EmbeddedPicture
from fcs.tools.report.finished_run import FinishedRun, Key
from fcs.tools.report.record_pictures import RecordPictures


@dataclass(frozen=True)
class FailureCode:
    """A code with the records that failed with it.

    Attributes:
        code: of the failure.
        counts: failed records in each run.
        shares: the same in percent of the most frequent code's count.
        samples: examples: (run, shard, key, detail, input or None).
    """

    code: str
    counts: tuple[int, ...]
    shares: tuple[float, ...]
    samples: tuple[tuple[str, str, str, str, EmbeddedPicture | None], ...]


def failure_codes(
    runs: Sequence[FinishedRun],
    samples: Sequence[Mapping[str, list[tuple[Key, str]]]],
    pictures: Sequence[Mapping[Key, RecordPictures]],
) -> list[FailureCode]:
    """The codes of all runs, the most frequent first.

    Args:
        runs: the runs.
        samples: of each run, some failed records by code (``first_failures``).
        pictures: of each run, what can be shown of these records.
    """
    counts = [_counts(run) for run in runs]
    codes = sorted(
        {code for own in counts for code in own}, key=lambda code: (-sum(own.get(code, 0) for own in counts), code)
    )
    most = max((count for own in counts for count in own.values()), default=1)
    found = []
    for code in codes:
        own = tuple(count.get(code, 0) for count in counts)
        examples = [
            (run.name, *key, detail, seen[key].given if key in seen else None)
            for run, failed, seen in zip(runs, samples, pictures, strict=True)
            for key, detail in failed.get(code, ())
        ]
        found.append(FailureCode(code, own, tuple(100 * count / most for count in own), tuple(examples)))
    return found


def _counts(run: FinishedRun) -> dict[str, int]:
    found: dict[str, int] = {}
    for error in run.failed["error"].to_pylist():
        code = (error or "unknown").partition(":")[0]
        found[code] = found.get(code, 0) + 1
    return found
