"""The page to paint on: ``fcs-demo``."""
