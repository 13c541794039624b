"""Pictures from a folder, a table or a dataset on disk to input shards."""
