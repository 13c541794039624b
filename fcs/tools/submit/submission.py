"""What is to be started, whatever the engine."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Submission:
    """A run, and the processes that are to work on it.

    Attributes:
        configs: configuration files, or names of shipped ones; later ones win.
        overrides: ``key=value``.
        packages: whose classes the files may choose (``--allow-imports``).
        out: the run's folder or URL.
        grace: seconds that a worker may take to end its batch.
        workers: how many.
        gpus, cpus: of each.
        retries: how often a worker that was lost or interrupted is started again; None: as the engine has it.
        command: the command line, which also goes on with the run.
    """

    configs: tuple[str, ...]
    overrides: tuple[str, ...]
    packages: tuple[str, ...]
    out: str
    grace: float
    workers: int
    gpus: int
    cpus: int
    retries: int | None
    command: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """The arguments of ``fcs-predict``."""
        return ["--config", self.configs[0], *self.more_words]

    @property
    def more_words(self) -> list[str]:
        """Those after the first configuration."""
        files = [word for name in self.configs[1:] for word in ("--config", name)]
        packages = [word for name in self.packages for word in ("--allow-imports", name)]
        return [*files, *packages, *self.overrides]

    @property
    def status(self) -> str:
        """What shows how far the run is."""
        return shlex.join(["fcs-status", self.out])

    @property
    def again(self) -> str:
        """What goes on with the run."""
        return shlex.join(self.command)


def told(**lines: str) -> str:
    """Lines of what to do next, each with its word in front."""
    return "\n".join(f"{name.replace('_', ' '):8s} {text}" for name, text in lines.items())
