"""Shards: tars of records, from the input that is read to the results that are committed.

``store`` knows where files lie (a folder or an object store) and how each appears whole or not at all. ``input`` reads
the records of input shards. ``ledger`` keeps track of a run: which process works on what, and what is done. Imports go
one way: store < input < ledger.
"""
