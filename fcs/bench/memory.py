"""Peak memory of a run's sampling above the loaded model, in a process of its own.

    python -m fcs.bench.memory CONFIG [key=value ...]

Measured on one batch of noise of the run's size over two levels. Prints ``{"bytes": ...}``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from fcs.engine.batch_size_finder import peak
from fcs.engine.config import load_config
from fcs.engine.pipeline_loading import load_pipeline
from fcs.engine.preflight import preflight
from fcs.engine.trainer import batch_size

# Large blocks go back to the system at once, so that what is counted is what is held and not what malloc keeps.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}


def memory(name: str, overrides: Sequence[str]) -> int:
    """Bytes, measured in a fresh process.

    Raises:
        RuntimeError: the process failed, with the last line that it said.
    """
    command = [sys.executable, "-m", "fcs.bench.memory", name, *overrides]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **MALLOC})
    if ended.returncode:
        raise RuntimeError(f"memory of {name}: {(ended.stderr.splitlines() or ['no word'])[-1]}")
    return int(json.loads(ended.stdout.splitlines()[-1])["bytes"])


def measure(name: str, overrides: Sequence[str]) -> int:
    """Bytes above the loaded model at the highest, in this process."""
    run, settings = load_config.load([name], [*overrides, "steps=2"])
    solver = load_pipeline(preflight(run, settings))
    shape = run.task.input_shape(solver.model)
    return peak(solver, shape, batch_size(run, solver, shape, solver.model.device))


if __name__ == "__main__":
    print(json.dumps({"bytes": measure(sys.argv[1], sys.argv[2:])}))
