"""Where measured figures are from, and how they are kept."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch


def hardware() -> str:
    """What measured figures were measured on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def origin() -> dict[str, str]:
    """The command of this process, the date, the hardware."""
    program = Path(sys.argv[0])
    name = f"python {program.parent.name}/{program.name}" if program.suffix == ".py" else program.name
    return {"command": " ".join([name, *sys.argv[1:]]), "date": time.strftime("%Y-%m-%d"), "hardware": hardware()}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(unfinished, path)
