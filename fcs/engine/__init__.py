"""The run: Lightning's module, data and writer, the checks before it, signals, progress, configuration."""
