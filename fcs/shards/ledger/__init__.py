"""Who does what and what is done: claims, parts, commits."""
