"""A store that answers one operation after the other, in simulated time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Server:
    """Says when operations are answered.

    Attributes:
        rate: operations a second that it does.
        latency: seconds of one where nothing else is asked.
        free: when it has done what was asked until now.
        asked: operations until now.
    """

    rate: float
    latency: float
    free: float = 0.0
    asked: float = 0.0

    def ask(self, now: float, operations: float) -> float:
        """When so many operations, one after the other, are answered."""
        self.asked += operations
        self.free = max(self.free, now) + operations / self.rate
        return max(self.free, now + operations * self.latency)
