"""Scores of results: per picture against a reference, and features for distributions."""
