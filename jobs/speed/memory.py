"""Peak memory of each method above the loaded model, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fcs
from fcs.bench.memory import MALLOC
from fcs.core.directions import Gradient, Newton
from fcs.engine.batch_size_finder import peak
from fcs.samplers import DDIM, InexactNewton
from fcs.samplers.base import Sampler
from fcs.tasks import Inpaint, Superres
from fcs.tasks.base import Task
from fcs.tasks.pipeline import Pipeline

METHODS = {
    "plain sampling": "no constraint",
    "inpainting, Newton": "J e",
    "inpainting, gradient": "J^T e: through the denoiser",
    "superres x4, VAE Newton": "no backpropagation",
    "superres x4, decoder gradient": "through the decoder",
    "superres x4, decoder gradient, slicing": "through the decoder, record by record",
}


def method(name: str) -> tuple[Task, Sampler]:
    """Task and sampler of one of the ``METHODS``; one move a level, since memory does not depend on their number."""
    if name.startswith("superres"):
        error = "vae_newton" if name.endswith("VAE Newton") else "decoder_gradient"
        return Superres(4, degrade=True, error=error), InexactNewton(step_sizes=[0.1])
    if name.startswith("inpainting"):
        return Inpaint(), InexactNewton(Gradient() if name.endswith("gradient") else Newton(), [0.5])
    return Inpaint(), DDIM()


def measure(name: str, model_name: str, count: int) -> int:
    """Bytes above the loaded model at the highest, for one batch through two levels."""
    model = fcs.load(model_name)
    model.spare(slicing=name.endswith("slicing"), tiling=False)
    return peak(Pipeline(model, *method(name), steps=2), model.picture_shape, count)


def memory(model: str, count: int) -> list[dict[str, Any]]:
    """A row a method, measured in a fresh process."""
    rows: list[dict[str, Any]] = []
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    for name, through in METHODS.items():
        command = [sys.executable, "-m", "speed.memory", name, model, str(count)]
        environment = {**os.environ, **MALLOC, "PYTHONPATH": paths}
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
        rows.append({"method": name, "error": through, "bytes": json.loads(output.splitlines()[-1])})
        rows[-1]["ratio"] = round(rows[-1]["bytes"] / rows[0]["bytes"], 3)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """For people."""
    line = "{method:40s} {mib:8.1f} MiB  {ratio:.2f} of plain sampling"
    return "\n".join(line.format(mib=row["bytes"] / 2**20, **row) for row in rows)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
