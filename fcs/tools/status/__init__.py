"""How far a run is, and whether its files are still those that were committed.

``read_status`` reads OUT and returns a ``RunStatus``: its shards, and its processes (``read_processes``). ``verify``
compares every committed file with its commit record. Nothing here writes, opens an input shard or imports torch.
"""
