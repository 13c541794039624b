"""Where bytes lie: folders and object stores, written atomically."""
