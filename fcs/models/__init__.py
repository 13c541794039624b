"""Pretrained models: one file a family, and the loading of them by name."""

from fcs.models.base import Model, Schedule
from fcs.models.loading import Found, embedded, find, load

__all__ = ["Found", "Model", "Schedule", "embedded", "find", "load"]
