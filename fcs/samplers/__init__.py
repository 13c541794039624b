"""Samplers: one file a family. A config names one by its class, or by its class name in lower case."""

from fcs.core.discovery import attributes
from fcs.samplers.base import Sampler

__getattr__, __dir__ = attributes(__name__, Sampler)
