"""Reading: input shards to records."""
