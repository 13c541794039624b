"""The ledger: which process works on which batch, and what of a run is done. Its state is nothing but files in OUT.

A *batch* is B records of a shard that follow each other. Its results are one *part*, a file ``parts/STEM/FIRST-LAST``.
A *slice*, 8 batches, is what a process claims at a time; a *claim* is a file in ``claims/STEM/`` that names its owner,
beside it *crash markers* for the batches that are being sampled. A shard whose parts cover all its records is merged
into its tar and its rows and becomes committed by its *commit record* ``shards/STEM.json``; readers look only at
shards that have one. ``run.json`` pins what all processes must agree on.

Files are written in this order: ``run.json``; then for each slice its claim, for each batch a crash marker, the part,
and the marker is deleted; for each shard the list of its parts, the tar, features and metrics, the commit record; then
parts and claims are deleted, and after the last shard ``summary.json`` is written. Each file is created exclusively or
replaced as a whole, so a process may be killed between any two writes: what lacks a part is sampled again, what has
all parts and no commit record is merged again to the same bytes, and what was committed but not deleted is deleted by
the next process that comes by. Claims only save work: where two processes do one batch, the second part is dropped.

``ledger`` is what the engine uses, ``scheduler`` chooses the next batch, ``leases`` holds what this process has.
``commit_shard`` commits a shard by ``merge_parts``, ``commit_tracker`` knows which shards are committed and
``commit_records`` reads their records, ``commit_list`` most of them from one file, the ``commit_manifest``. ``layout``
names every file.
"""
