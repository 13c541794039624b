"""Operators: one file each. A config names one by its class, or by its class name in lower case."""

from fcs.core.discovery import attributes
from fcs.core.operators.base import Operator

__getattr__, __dir__ = attributes(__name__, Operator)
