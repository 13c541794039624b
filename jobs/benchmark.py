"""What runs cost and where their time goes; the same command on a CPU and on a GPU.

    python jobs/benchmark.py --out runs/benchmark
    python jobs/benchmark.py --out runs/benchmark --parts memory,flat
    python jobs/benchmark.py --out runs/benchmark --model sd15 --precision bf16 --compile true   # on a GPU

Parts:
  efficiency  what a batch of fcs-predict takes against its denoiser calls, one encoding and one decoding with torch and
              diffusers alone: same batch, type and compilation, start-up apart, at 220 and at 40 calls
  published   against the published loop (one record at a time, float32, eager) at the same calls, a change at a time:
              batched, in --precision, compiled, replayed as CUDA graphs; at last the preset of 20 calls
  rivals      records a second of the first of --rivals over those of each other, every method at a budget of its own
  factors     a call of the network by batch, type, layout and compilation
  memory      peak above the loaded model of each method, against plain sampling
  flat        memory of a process from the 100th to the 10,000th record
  startup     seconds of imports, weights, first call; of --help
  steps       where a batch's time goes
  threads     a call by one thread and by all cores, spinning and quiet, beside programs that keep cores busy
  copies      a call in 16 bits, its weights rounded at every call or once
  host        records a second of one core with an instant network: read, scored and encoded at --pixels
  gpu         seconds an image by batch, and the share of the bf16 matmul rate; only where there is a GPU

What is compared is measured in turn, and medians are of the ratios of each round. ``sd15`` is a model of Stable
Diffusion 1.5's size at 512 pixels with random weights, ``tiny`` one to try the job with; both are made below OUT.
Writes OUT/benchmark.json and prints the tables.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from command import command
from speed import copies, large, long, memory, rates, rivals, steps, threads
from speed.pipeline import WALKS, Setting

from fcs.bench import gpu_host
from fcs.bench.options import whole
from fcs.bench.origin import hardware, origin, write_json
from fcs.core.errors import UsageError
from fcs.tools.cli.ends import Parser

HOST = "{format} at {pixels} px: {records_a_second_a_core:.1f} records a second a core, scores on {scores_on}"
PARTS = (
    *("efficiency", "published", "rivals", "factors", "memory", "flat", "startup", "steps", "threads", "copies"),
    *("host", "gpu"),
)


def measure(part: str, setting: Setting, args: argparse.Namespace) -> Any:
    """The figures of one part."""
    calls, batches, repeats = whole(args.calls, "--calls"), args.batches, args.repeats
    if part == "efficiency":
        return [rates.efficiency(setting, count, batches, repeats) for count in calls]
    if part == "published":
        return rates.against_published(setting, calls[0], batches, repeats)
    if part == "rivals":
        shard = rates.inputs(setting, batches)
        return rivals.rivals(setting, args.rivals.split(","), args.tuned, shard, batches, repeats)
    if part == "factors":
        return rates.factors(setting, repeats)
    if part == "memory":
        return memory.memory(setting.model, args.memory_batch)
    if part == "flat":
        return long.flat(setting.work, args.records)
    if part == "startup":
        return long.start_up(setting.model, setting.batch, args.compile != "false", repeats)
    if part == "steps":
        return steps.steps(setting, calls[0], batches, rates.inputs(setting, batches), rates.device())
    if part == "threads":
        return threads.threads(setting.model, setting.batch, batches, repeats)
    if part == "copies":
        return copies.copies(setting.model, setting.precision, [1, setting.batch], max(repeats, 5), rates.device())
    if part == "host":
        return list(gpu_host.ceiling(setting.work, rates.device(), args.pixels, setting.batch))
    return large.sweep(setting, whole(args.gpu_calls, "--gpu-calls"), whole(args.sweep, "--sweep"))


def show(found: dict[str, Any]) -> str:
    """The tables of what was measured."""
    shown = [rates.table(found), long.table(found)]
    shown += [rivals.table(found["rivals"])] if "rivals" in found else []
    shown += [memory.table(found["memory"])] if "memory" in found else []
    shown += [steps.table(found["steps"])] if "steps" in found else []
    shown += [threads.table(found["threads"])] if "threads" in found else []
    shown += [copies.table(found["copies"])] if "copies" in found else []
    shown += [HOST.format(**row) for row in found.get("host", [])]
    shown += [large.table(found["gpu"])] if "gpu" in found else []
    return "\n".join(text for text in shown if text)


def chosen(text: str) -> list[str]:
    """The parts of a list; ``all`` leaves out what needs a GPU where there is none.

    Raises:
        UsageError: a name that is none.
    """
    gpu = torch.cuda.is_available()
    names = [part for part in PARTS if gpu or part != "gpu"] if text == "all" else text.split(",")
    for name in names:
        if name == "gpu" and not gpu:
            raise UsageError.of("--parts", name, "a machine with a GPU")
        if name not in PARTS:
            raise UsageError.of("--parts", name, f"all, or of {', '.join(PARTS)}", PARTS)
    return names


def parser() -> Parser:
    """The options."""
    made = Parser("python jobs/benchmark.py", __doc__)
    made.add_argument("--out", type=Path, required=True, help="folder for benchmark.json and what is measured")
    made.add_argument("--parts", default="all", help="comma separated (%(default)s)")
    made.add_argument("--model", default="emoji-64", help="model.name of a Stable Diffusion; sd15, tiny (%(default)s)")
    made.add_argument("--batch", type=int, default=16, help="records at once (%(default)s)")
    made.add_argument("--memory-batch", type=int, default=32, help="of the memory part (%(default)s)")
    made.add_argument("--precision", choices=("32", "16", "bf16"), default="32", help="(%(default)s)")
    made.add_argument("--compile", choices=("auto", "true", "false"), default="auto", help="auto: on a GPU only")
    made.add_argument("--cuda-graphs", action="store_true", help="replay what is compiled as a CUDA graph")
    made.add_argument("--calls", default="220,40", help=f"of {sorted(WALKS)}; the first for published, steps (220,40)")
    made.add_argument("--rivals", default="krylov@20,projected@40,replacement@40", help="METHOD@CALLS (%(default)s)")
    made.add_argument("--tuned", type=Path, help="folder of fcs-bench tune, for settings of rivals")
    beyond = "after the first, in each measurement; calls of the threads part (%(default)s)"
    made.add_argument("--batches", type=int, default=2, help=beyond)
    made.add_argument("--repeats", type=int, default=3, help="rounds (%(default)s)")
    made.add_argument("--records", type=int, default=10_000, help="of the flat part (%(default)s)")
    made.add_argument("--pixels", type=int, default=512, help="a side, of the host part (%(default)s)")
    made.add_argument("--gpu-calls", default="220,60", help="of the gpu part (%(default)s)")
    made.add_argument("--sweep", default="1,2,4,8,16,32", help="batches of the gpu part (%(default)s)")
    return made


def run(args: argparse.Namespace) -> None:
    """Measure, write, print.

    Raises:
        UsageError: an option that does not fit.
    """
    parts = chosen(args.parts)
    for option, text in (("--calls", args.calls), ("--gpu-calls", args.gpu_calls)):
        if not set(whole(text, option)) <= set(WALKS):
            raise UsageError.of(option, text, f"numbers of calls of {sorted(WALKS)}")
    whole(args.sweep, "--sweep", least=1)
    for name in args.rivals.split(","):
        rivals.parsed(name)
    work = args.out / "work"
    model = str(large.write(args.out / args.model, args.model)) if args.model in large.SIZES else args.model
    compiled = torch.cuda.is_available() if args.compile == "auto" else args.compile == "true"
    setting = Setting(model, args.batch, args.precision, compiled, work, args.cuda_graphs)
    found: dict[str, Any] = {
        **origin(),
        "hardware": f"{hardware()}, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}",
        "setting": {"model": args.model, "batch": args.batch, "precision": args.precision, "compile": setting.compile}
        | {"cuda_graphs": setting.cuda_graphs},
    }
    for part in parts:
        found["start_up" if part == "startup" else part] = measure(part, setting, args)
        write_json(args.out / "benchmark.json", found)
    shutil.rmtree(work, ignore_errors=True)
    print(show(found))


if __name__ == "__main__":
    logging.getLogger("fcs").setLevel(logging.ERROR)  # warnings of settings; what fails is raised
    command(parser(), run)
