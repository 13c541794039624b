"""Memory over ten thousand records, and how long a process takes until its first batch."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from speed.pipeline import write_inputs

EARLY = 100  # the record whose memory is the measure
ON_THE_WAY = (100, 300, 1000, 2000, 3000, 5000, 7000, 10000)  # records whose memory is told too
# A process on its way to the first batch; the last two lines are the network's first calls.
START = """
import json, sys, time
began = time.perf_counter()
import fcs.engine.predict, fcs.tools.cli.predict
from fcs.engine.config import load_config
imported = time.perf_counter()
import torch
import fcs
model = fcs.load(sys.argv[1])
loaded = time.perf_counter()
x, prompts = torch.zeros(int(sys.argv[2]), *model.shape, device=model.device), [""] * int(sys.argv[2])
denoise, level = model.guided(prompts), model.schedule.levels(2)[0]
if sys.argv[3] == "compile":
    model.compile_network()
with torch.no_grad():
    denoise(x, level).sum().item()
first = time.perf_counter()
print(json.dumps({"imports": imported - began, "weights": loaded - imported, "first_call": first - loaded}))
"""


def flat(work: Path, records: int, shard: int = 1000) -> dict[str, Any]:
    """Peak memory of a process at the 100th and at the last of many digits of three calls each."""
    for number in range(-(-records // shard)):
        write_inputs(work / "many" / f"{number:03d}.tar", (1, 16, 16), min(shard, records - number * shard))
    out = work / "long"
    shutil.rmtree(out, ignore_errors=True)
    arguments = ["--config", "digits_inpaint", f"data.shards={work}/many/*.tar", "steps=1", "previews.max=0"]
    command = [sys.executable, "-m", "fcs.tools.cli.predict", *arguments, f"out={out}"]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    columns = ["shard", "index", "memory"]
    rows = [
        row
        for path in (out / "metrics").glob("*.parquet")
        for row in pq.read_table(path, columns=columns, partitioning=None).to_pylist()
    ]
    held = [row["memory"] for row in sorted(rows, key=lambda row: (row["shard"], row["index"]))]
    early, last = held[min(EARLY, len(held)) - 1], max(held)
    return {
        "records": len(held),
        "bytes_at_100th": early,
        "bytes_at_last": last,
        "growth": last / early - 1,
        "bytes": {str(count): held[count - 1] for count in ON_THE_WAY if count <= len(held)},
        "seconds": time.perf_counter() - began,
    }


def start_up(model: str, batch: int, compiled: bool, repeats: int) -> dict[str, Any]:
    """Seconds of imports, weights and the first call; compiled with an empty cache and with a full one; of --help."""
    found = {"eager": [_start(model, batch, "eager", {}) for _ in range(repeats)]}
    if compiled:
        found |= {"compiled": [], "compiled_again": []}
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as cache:
                places = {"TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": f"{cache}/triton"}
                for name in ("compiled", "compiled_again"):
                    found[name].append(_start(model, batch, "compile", places))
    medians = {
        name: {part: statistics.median(row[part] for row in rows) for part in rows[0]} for name, rows in found.items()
    }
    return {**medians, "help": statistics.median(_help() for _ in range(repeats))}


def _start(model: str, batch: int, how: str, places: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, "-c", START, model, str(batch), how]
    environment = {**os.environ, **places}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return dict(json.loads(output.splitlines()[-1]))


def _help() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "fcs.tools.cli.predict", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def table(found: dict[str, Any]) -> str:
    """For people: what of ``flat`` and ``start_up`` is there."""
    lines = []
    if "flat" in found:
        line = "{records} records: {mib:.0f} MiB at the last, {growth:+.2%} of the 100th's"
        lines.append(line.format(mib=found["flat"]["bytes_at_last"] / 2**20, **found["flat"]))
    for name, parts in found.get("start_up", {}).items():
        shown = {"seconds": parts} if name == "help" else parts
        lines.append(f"{name:15s} " + "  ".join(f"{part} {seconds:.1f} s" for part, seconds in shown.items()))
    return "\n".join(lines)
