"""Packing: pictures in a folder, a table or a dataset on disk become input shards (``fcs-pack``).

``open_source`` yields a ``SourceRecord`` for each picture, from ``picture_folder`` (by its ``folder_names``) or from
``table_files``, by their ``table_columns`` and ``cell_values``.
``record_members`` reads it, reduces it where it is large (``large_pictures``), draws its mask (``masks``) and checks it
with the reader of shards; ``write_shards`` writes the tars and ``sizes.json``.
"""
