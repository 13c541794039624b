"""Shards in, shards out: reading, the ledger of a run, committing. Import from the modules: some need no torch."""
