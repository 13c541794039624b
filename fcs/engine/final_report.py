"""What a run says when it is done."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from fcs.core.exit_codes import DONE, SOME_FAILED
from fcs.core.notes import note_lines
from fcs.models.base import TRUNCATED
from fcs.shards.ledger.layout import METRICS, PREVIEWS, SHARDS, SUMMARY
from fcs.shards.ledger.process_stats import noted
from fcs.shards.ledger.summary import failed_records, summarize
from fcs.shards.store.base import Store

log = logging.getLogger("fcs")
LISTED = 20  # failed records that are named


def final_report(out: Store, quiet: bool = False) -> int:
    """Say what the run gave, and where; returns 0, or 3 where records failed.

    Args:
        out: the run's store.
        quiet: say nothing.
    """
    known = out.json(SUMMARY) or {}
    summary = known if known.get("complete") else summarize(out)
    ok, failed = summary["records"]["ok"], summary["records"]["failed"]
    if not quiet:
        print(f"{'score':16s} {'mean':>10s} {'records':>8s}")
        for name, values in summary["metrics"].items():
            if values["n"]:
                print(f"{name:16s} {values['mean']:10.4f} {values['n']:8d}")
            if values.get("infinite"):  # these pixels are equal to the reference's
                print(f"{name:16s} {'infinite':>10s} {values['infinite']:8d}")
        print(f"records: {ok} ok, {failed} failed")
        folders = {"pictures": SHARDS, "rows": METRICS}
        folders |= {"previews": PREVIEWS} if any(out.below(PREVIEWS)) else {}
        print("  ".join(f"{what}: {out.where(folder)}" for what, folder in folders.items()))
        _list_failures(out, failed)
        _say_notes(out, summary)
    return SOME_FAILED if failed else DONE


def _say_notes(out: Store, summary: Mapping[str, Any]) -> None:
    """What was read or used, but perhaps not as it was meant: once, with the number in the whole run."""
    counts = {**noted(out), **summary.get("notes", {})}
    cut = counts.pop("truncated", 0)
    if cut:
        log.warning(TRUNCATED, f"{cut} of {sum(summary['records'].values())} records")
    for line in note_lines(counts):
        log.warning("%s", line)


def _list_failures(out: Store, failed: int) -> None:
    for shard, key, error in failed_records(out, LISTED):
        print(f"failed: {shard} {'(unnamed)' if key is None else key}: {error}", file=sys.stderr)
    if failed > LISTED:
        print(f"and {failed - LISTED} more, in {out.where(METRICS)}", file=sys.stderr)
