"""What was measured on a card as tables, for ``docs/speed.md``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

HEADS = {
    "seconds_a_picture": "s a picture",
    "share_of_matmul": "of matmul",
    "tflop_a_call": "TFLOP a call",
    "gib": "GiB",
    "records_a_second_a_core": "records/s a core",
    "pictures_a_second": "pictures/s",
    "network_alone": "network alone",
    "seconds_to_compile": "s to compile",
    "read_ms": "ms to read",
    "encode_ms": "ms to score and encode",
    "scores_on": "scores on",
    "near": "within 2/255",
}
SHARES = ("share_of_matmul", "near", "share")


def table(found: dict[str, Any]) -> str:
    """One table a part, and a line for each part that has none."""
    facts = found["facts"]
    lines = [f"{facts['hardware']}, torch {facts['torch']}, {facts['date']}:", "", f"    {facts['command']}", ""]
    for name, part in found["parts"].items():
        lines += [f"### {name}", ""]
        lines += _table(part["rows"]) if part["rows"] else []
        lines += [part["note"], ""] if part.get("note") else [""]
    return "\n".join(lines)


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "| " + " | ".join(HEADS.get(name, name) for name in names) + " |"
    body = ["| " + " | ".join(_cell(name, row.get(name)) for name in names) + " |" for row in rows]
    return [head, "|" + "---|" * len(names), *body]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in SHARES:
        return f"{value:.1%}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
