"""Tiny random pipelines of many families in their own formats, and the tests that all of them pass."""
