"""Configuration: files and overrides to one checked ``Run``."""
