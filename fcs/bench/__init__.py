"""Runs of a config over seeds, read back and judged against the truth."""
