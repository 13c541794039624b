"""Shards in, shards out: reading, the ledger of a run, committing."""

from fcs.shards.commit import committed, intact
from fcs.shards.decode import Format, Resize
from fcs.shards.ledger import Ledger, Work
from fcs.shards.parts import Row, rows_schema
from fcs.shards.progress import Totals, totals
from fcs.shards.reader import ShardReader
from fcs.shards.reopen import retry_failed
from fcs.shards.run import describe, fingerprint, pin, read_run
from fcs.shards.sources import Source, counts, resolve
from fcs.shards.summary import summarize, write_summary

__all__ = [
    "Format",
    "Ledger",
    "Resize",
    "Row",
    "ShardReader",
    "Source",
    "Totals",
    "Work",
    "committed",
    "counts",
    "describe",
    "fingerprint",
    "intact",
    "pin",
    "read_run",
    "resolve",
    "retry_failed",
    "rows_schema",
    "summarize",
    "totals",
    "write_summary",
]
