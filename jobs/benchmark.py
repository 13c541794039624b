"""What runs cost: peak memory, each in a process of its own.

    python jobs/benchmark.py --memory --out runs/benchmark
    python jobs/benchmark.py --memory --model emoji-64 --batch 32 --out runs/benchmark

Memory is what the process holds at its highest while it samples, above what it holds with the model loaded: resident
memory on a CPU, allocated memory on a GPU. Plain sampling, decoding included, is the measure of the others. Writes
OUT/benchmark.json and prints the table.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

import fcs
from fcs.directions import Gradient
from fcs.directions import Newton as NewtonDirection
from fcs.memory import held
from fcs.records import Batch, Record, collate
from fcs.samplers import DDIM, Newton, Sampler
from fcs.solve import Solver
from fcs.tasks import Inpaint, Superres, Task

METHODS = {
    "plain sampling": "no constraint",
    "inpainting, Newton": "J e",
    "inpainting, gradient": "J^T e: through the denoiser",
    "superres x4, VAE Newton": "no backpropagation",
    "superres x4, decoder gradient": "through the decoder",
}


def method(name: str) -> tuple[Task, Sampler]:
    """Task and sampler of one of the ``METHODS``; one move a level, since memory does not depend on their number."""
    if name.startswith("superres"):
        error = "vae_newton" if name.endswith("VAE Newton") else "decoder_gradient"
        return Superres(4, degrade=True, error=error), Newton(step_sizes=[0.1])
    if name.startswith("inpainting"):
        return Inpaint(), Newton(Gradient() if name.endswith("gradient") else NewtonDirection(), [0.5])
    return Inpaint(), DDIM()


def noise_batch(shape: tuple[int, int, int], count: int) -> Batch:
    """Pictures of noise, the right half to be made."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(1, *shape[1:], dtype=torch.uint8)
    masks[..., shape[2] // 2 :] = 255
    pictures = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    records = [Record(i, str(i), picture, masks, seed=i) for i, picture in enumerate(pictures)]
    return collate("", 0, records, shape, 0)


def measure(name: str, model_name: str, count: int) -> dict[str, int]:
    """Bytes above the loaded model at the highest, for one batch through two levels."""
    model = fcs.load(model_name)
    task, sampler = method(name)
    return {"bytes": peak(Solver(model, task, sampler, steps=2), model.picture_shape, count)}


def peak(solver: Solver, shape: tuple[int, int, int], count: int) -> int:
    """Bytes above the loaded model at the highest, for one batch of noise, ``shape`` ``(C, H, W)`` each."""
    device = solver.model.device
    batch = noise_batch(shape, count).to(device)
    solver(noise_batch(shape, 1).to(device))  # whatever is loaded at the first use
    before = held(device, peak=False)
    solver(batch)
    return held(device, peak=True) - before


def memory(model: str, count: int) -> list[dict[str, Any]]:
    """A row a method, measured in a fresh process."""
    rows: list[dict[str, Any]] = []
    for name, through in METHODS.items():
        command = [sys.executable, __file__, "--memory", "--one", name, "--model", model, "--batch", str(count)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append({"method": name, "error": through, **json.loads(output.splitlines()[-1])})
        rows[-1]["ratio"] = round(rows[-1]["bytes"] / rows[0]["bytes"], 3)
        print(f"{name:32s} {rows[-1]['bytes'] / 2**20:8.1f} MiB  {rows[-1]['ratio']:.2f} of plain sampling")
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", required=True, help="peak memory of each method")
    parser.add_argument("--model", default="emoji-64", help="model.name (%(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="records in the batch (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="folder (%(default)s)")
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.model, args.batch)))
        return
    rows = memory(args.model, args.batch)
    report = {
        "command": " ".join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "model": args.model,
        "batch": args.batch,
        "memory": rows,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "benchmark.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
