"""Tasks: one file each. A config names one by its class, or by its class name in lower case."""

from fcs.core.discovery import attributes
from fcs.tasks.base import Task

__getattr__, __dir__ = attributes(__name__, Task)
