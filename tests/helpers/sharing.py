"""A process of a run that leaves work to the others: run as a script it is one of them."""

from __future__ import annotations

import sys
from pathlib import Path

from fcs.shards.ledger.leases import Leases
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.predict import main


def together(out: Path) -> None:
    """Let this process of a run take three shards at most until three processes have finished a batch."""
    acquire, acquired = Leases.acquire, []

    def few(self: Leases, number: int, slice_number: int) -> bool:
        if len(acquired) >= 3 and len(LocalStore(out).names("workers")) < 3:
            return False
        if not acquire(self, number, slice_number):
            return False
        acquired.append(number)
        return True

    Leases.acquire = few  # type: ignore[method-assign]


if __name__ == "__main__":
    together(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
