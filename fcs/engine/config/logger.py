"""What a logger is. Lightning's own class would say it too, but importing Lightning takes seconds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

METHODS = ("log_metrics", "log_hyperparams", "finalize")


class Logger(ABC):
    """Lightning's ``Logger``: any class with its methods counts as one."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        if cls is Logger and all(callable(getattr(other, name, None)) for name in METHODS):
            return True
        return NotImplemented

    @abstractmethod
    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log numbers by name at a step."""
