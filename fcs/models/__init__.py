"""Pretrained models: one file a family, and the loading of them by name."""

from fcs.models.base import Model, Schedule
from fcs.models.files import Found
from fcs.models.loading import embedded, find, load

__all__ = ["Found", "Model", "Schedule", "embedded", "find", "load"]
