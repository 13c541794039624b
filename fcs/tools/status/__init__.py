"""How far a run is, and whether its files are still those that were committed."""
