"""Input: from the patterns of ``data.shards`` to decoded records.

``sources`` finds the shards without opening one. ``shard_reader`` opens a shard (a copy of it, where it is remote or
compressed), ``tar_members`` lists what is in the tar and where it breaks, ``record_index`` groups members to records,
and ``decode`` makes a record of their bytes. ``open_shards`` keeps a number of shards open for all threads. Nothing is
believed that a file only claims, and whatever is wrong with a record becomes its error, never an exception.
"""
