"""Settings of short runs."""

DIGITS_RUN = ["steps=2", "data.limit=24", "data.batch_size=8", "data.workers=1"]
