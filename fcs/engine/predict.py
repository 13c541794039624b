"""A run from beginning to end: the work, and what is said at the end."""

from __future__ import annotations

import math
import sys
import time
import warnings
from importlib.metadata import version
from itertools import chain
from typing import Any

import torch

from fcs.core.errors import StorageError
from fcs.core.records import Batch, collate
from fcs.core.tf32 import allow_tf32
from fcs.engine.async_writer import AsyncWriter
from fcs.engine.config.run import Run
from fcs.engine.encode_results import ResultEncoder
from fcs.engine.launch import follow_parent, launch
from fcs.engine.predict_module import PredictModule
from fcs.engine.preflight import Preflight, devices, judge_for, plan, record_format, solver_for
from fcs.engine.process_info import ProcessInfo
from fcs.engine.progress import Log, Progress
from fcs.engine.read_ahead import ReadAhead
from fcs.engine.signals import Stop
from fcs.engine.trainer import batch_size, compiles, device, takes_tf32, trainer
from fcs.metrics import image_scores as metrics
from fcs.metrics.judge import Judge
from fcs.shards.input.open_shards import OpenShards
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import Source, listed_sizes, local_path
from fcs.shards.ledger.commit_tracker import finish_run
from fcs.shards.ledger.layout import DIFFERENCE, METRICS, PREVIEWS, RUN, SHARDS, SUMMARY
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import pin
from fcs.shards.ledger.result_rows import Row
from fcs.shards.ledger.retry import launched, retry_failed
from fcs.shards.ledger.summary import failed_records, summarize
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.base import Store
from fcs.tasks.pipeline import Pipeline

SOME_FAILED = 3
COUNTED = 64  # no more shards than this are opened beforehand, only to show a total
POLL, LONGEST = 1.0, 30.0  # seconds between two looks at what other processes have in hand
POLLS = 16  # looks a second of all processes together, as far as LONGEST allows
LISTED = 20  # failed records that are named at the end
PACKAGES = ("fcs", "torch", "lightning", "diffusers", "transformers", "pillow")


def dry_run(run: Run, settings: dict[str, Any]) -> int:
    """Say what would be done and what it costs; write nothing."""
    checked = plan(run, settings)
    solver = solver_for(checked)
    judge_for(checked, solver.model)
    known = listed_sizes(checked.sources)
    total = None if None in known else sum(count for count in known if count is not None)
    if total is not None and run.data.limit is not None:
        total = min(total, run.data.limit)
    calls = run.task.calls(run.sampler, run.steps)
    parameters = sum(p.numel() for p in solver.model.parameters())
    records = "unknown (no sizes.json)" if total is None else str(total)
    lines = {
        "model": f"{run.model.name}, {parameters / 1e6:.1f} M parameters, {solver.model.picture_shape}",
        "shards": f"{len(checked.sources)}, records: {records}",
        "calls": f"{calls} of the denoiser a record" + ("" if total is None else f", {calls * total} in all"),
        "metrics": ", ".join([*metrics.NAMES, *run.task.scored, *run.metrics.scores]),
        "features": ", ".join(run.metrics.features) or "none",
        "processes": f"{devices(run, ProcessInfo.here())}, batches of {run.data.batch_size}",
        "out": f"{run.out}" + (" (continues)" if checked.out.exists(RUN) else ""),
    }
    for name, value in lines.items():
        print(f"{name:10s} {value}")
    print("nothing was written")
    return 0


def prepare(run: Run, settings: dict[str, Any]) -> int:
    """Pin the run, fetch weights, index the shards; for machines without a GPU but with a network."""
    checked = plan(run, settings)
    solver = solver_for(checked)
    judge_for(checked, solver.model)
    pin(checked.out, checked.pinned)
    records = 0
    for source in checked.sources:
        with ShardReader(source, record_format(run, solver.model)) as reader:
            records += len(reader)
            if reader.index.truncated:
                print(f"{source.url}: truncated: {reader.index.truncated}", file=sys.stderr)
    print(f"{run.out}: pinned; {len(checked.sources)} shards, {records} records")
    return 0


def predict(run: Run, settings: dict[str, Any], stop: Stop, arguments: list[str]) -> int:
    """Do the run; returns the exit code.

    Args:
        run: what to do.
        settings: the same as plain data.
        stop: asked between batches and denoiser calls.
        arguments: of the command line, for further processes.
    """
    place = ProcessInfo.here()
    count = devices(run, place)
    checked = plan(run, settings)
    if run.data.retry_failed and not place.started and checked.out.exists(RUN):
        retry_failed(checked.out, launched(checked.out))
    if count > 1 and not place.started and not checked.complete:
        judge_for(checked, solver_for(checked).model)
        stop.check()
        pin(checked.out, checked.pinned)
        code = launch(arguments, count)
        return max(code, report(checked, quiet=not place.speaks)) if code in (0, SOME_FAILED) else code
    if checked.complete:
        finish_run(checked.out)
    else:
        if place.started:
            follow_parent()
        solver = solver_for(checked)
        judge = judge_for(checked, solver.model)
        stop.check()
        pin(checked.out, checked.pinned)
        allow_tf32(takes_tf32(run))
        solver = _measured(checked.out, solver, place)
        size = batch_size(run, solver, run.task.input_shape(solver.model), place)
        if compiles(run):  # after what is measured in other shapes and types, each of which would be a graph
            solver.model.compile_network(run.trainer.cuda_graphs)
        work(checked, solver, judge, stop, place, size)
    return report(checked, quiet=not place.speaks)


def _measured(out: Store, solver: Pipeline, place: ProcessInfo) -> Pipeline:
    """The solver with the perturbations that ``out`` holds; those that 16 bits need are measured if they are not there.

    They are measured where the run computes: another device rounds otherwise.
    """
    if solver.automatic is None:
        return solver
    known = out.json(DIFFERENCE)
    if known is None:
        solver.model.to(device(place))
        if not solver.unmeasured:
            return solver
        out.create(DIFFERENCE, to_json({str(t): length for t, length in solver.lengths().items()}))
        known = out.json(DIFFERENCE)
    if known is None:
        raise StorageError(f"{out.where(DIFFERENCE)}: expected what was measured, found nothing or something else")
    return solver.measured({float(t): float(length) for t, length in known.items()})


def _ledger(
    checked: Preflight, solver: Pipeline, judge: Judge | None, shards: OpenShards, place: ProcessInfo, size: int
) -> Ledger:
    run = checked.run
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return Ledger(
        checked.out,
        checked.sources,
        size,
        shards.rows,
        limit=run.data.limit,
        rank=place.rank,
        world=place.world,
        fingerprint=checked.pinned["fingerprint"],
        info={"versions": {name: version(name) for name in PACKAGES}, "card": card},
        scores=(*metrics.NAMES, *checked.run.task.scored, *(judge.scores if judge else ())),
        features=judge.names(_has_truth(solver)) if judge else (),
    )


def _has_truth(solver: Pipeline) -> bool:
    """Whether the task has something to score its results against."""
    blank = collate("", 0, [None], solver.task.input_shape(solver.model), 0)
    return solver.task.reference(blank) is not None


def work(checked: Preflight, solver: Pipeline, judge: Judge | None, stop: Stop, place: ProcessInfo, size: int) -> None:
    """Sample whatever is not done yet in batches of ``size``, together with any other process on the same folder."""
    run = checked.run
    # Each worker may be in a shard of its own, and the ledger opens the next.
    shards = OpenShards(checked.sources, record_format(run, solver.model), run.data.workers + 8)
    ledger = _ledger(checked, solver, judge, shards, place, size)
    ledger.load_commits()  # what it takes back must not look complete below
    totals = ledger.totals()
    if totals.total is None and len(checked.sources) <= COUNTED and all(map(_in_place, checked.sources)):
        while ledger.record_counts() is None:
            shards.wait()
            stop.check()
        totals = ledger.totals()
    progress = Progress(totals.total, totals.ok + totals.failed)
    log = Log(run.trainer.logger) if run.trainer.logger is not None and place.rank == 0 else None
    facts = {"model": checked.found.label, "fingerprint": checked.pinned["fingerprint"]}
    numbers = {source.stem: number for number, source in enumerate(checked.sources)}

    def finish(batch: Batch, rows: list[Row]) -> None:
        ledger.stats.slots = predictor.solve.most or size
        ledger.finish(numbers[batch.shard], batch.number, rows)

    delivery = AsyncWriter(
        ResultEncoder(run.task, run.format, run.copy_inputs, facts, judge.to(device(place)) if judge else None),
        finish,
        progress,
        run.data.max_failed,
        totals.failed,
        checked.out,
        _every(run, size, totals.total),
        run.previews.max,
        ledger.failed_elsewhere,
        log,
    )
    predictor = PredictModule(solver, delivery, stop)
    try:
        while not ledger.complete():
            sampled = _round(run, place, ledger, shards, predictor)
            delivery.flush()
            stop.check()
            if not sampled and not ledger.complete():
                _wait(place, stop)
    finally:
        stop.install()
        try:
            delivery.close()
        finally:
            progress.close()
            if log is not None:
                log.close()
            ledger.close()
            shards.close()


def _wait(place: ProcessInfo, stop: Stop) -> None:
    """A moment until the next look at what other processes have in hand; the longer the more there are."""
    until = time.monotonic() + min(LONGEST, max(POLL, place.world / POLLS))
    while time.monotonic() < until:
        time.sleep(POLL)
        stop.check()


def _round(run: Run, place: ProcessInfo, ledger: Ledger, shards: OpenShards, predictor: PredictModule) -> bool:
    """Sample all that nobody else has in hand; False where that is nothing."""
    ahead = ReadAhead(
        ledger.tasks(), shards, ledger.batch_size, run.seed, run.data.prompt, run.data.workers, predictor.stop.check
    )
    batches = iter(ahead)
    first = next(batches, None)
    if first is None:
        return False
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec")  # Lightning 2.6 with torch 2.13
        warnings.filterwarnings("ignore", message="The `srun` command")  # one process needs none
        trainer(run, place).predict(predictor, chain([first], batches), return_predictions=False)
    return True


def _in_place(source: Source) -> bool:
    """Whether a shard can be counted without copying it first."""
    return local_path(source.url) is not None and source.url.lower().endswith(".tar")


def _every(run: Run, size: int, total: int | None) -> int:
    """A contact sheet each so many batches, so that the run makes at most ``previews.max``."""
    if run.previews.max == 0:
        return 0
    batches = math.ceil((total or 100 * size * run.previews.max) / size)
    return math.ceil(batches / run.previews.max) or 1


def report(checked: Preflight, quiet: bool = False) -> int:
    """Say what the run gave, and where; returns 0, or 3 where records failed."""
    known = checked.out.json(SUMMARY) or {}
    summary = known if known.get("complete") else summarize(checked.out)
    ok, failed = summary["records"]["ok"], summary["records"]["failed"]
    if not quiet:
        print(f"{'score':16s} {'mean':>10s} {'records':>8s}")
        for name, values in summary["metrics"].items():
            if values["n"]:
                print(f"{name:16s} {values['mean']:10.4f} {values['n']:8d}")
        print(f"records: {ok} ok, {failed} failed")
        where = {"pictures": SHARDS, "rows": METRICS, "previews": PREVIEWS}
        print("  ".join(f"{what}: {checked.out.where(folder)}" for what, folder in where.items()))
        for shard, key, error in failed_records(checked.out, LISTED):
            print(f"failed: {shard} {'(unnamed)' if key is None else key}: {error}", file=sys.stderr)
        if failed > LISTED:
            print(f"and {failed - LISTED} more, in {checked.out.where(METRICS)}", file=sys.stderr)
    return SOME_FAILED if failed else 0
