"""The console scripts: thin, everything they do is a call away in Python."""
