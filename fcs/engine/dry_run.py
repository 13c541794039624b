"""What ``--dry-run`` says and ``--prepare`` does, without computing anything."""

from __future__ import annotations

import sys

from fcs.core.exit_codes import DONE
from fcs.core.plurals import count_of
from fcs.engine.config.run import Run
from fcs.engine.first_records import failing_first_records
from fcs.engine.pipeline_loading import load_judge, load_pipeline, record_format
from fcs.engine.preflight import Preflight
from fcs.engine.process_info import ProcessInfo
from fcs.engine.timed_batch import timed_batch
from fcs.engine.trainer import ranks_to_start
from fcs.metrics import image_scores
from fcs.models import Model
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import listed_sizes
from fcs.shards.ledger.commit_list import damaged, damaged_text, list_commits
from fcs.shards.ledger.layout import RUN
from fcs.shards.ledger.repin import pin_anew


def dry_run(run: Preflight, timed: bool = False) -> int:
    """Say what would be done and what it costs; write nothing.

    Args:
        run: what to do.
        timed: sample one batch, for the hours that it takes.
    """
    config = run.config
    pipeline = load_pipeline(run)
    model = pipeline.model
    load_judge(run, model)
    known = listed_sizes(run.sources)
    total = None if None in known else sum(count for count in known if count is not None)
    if total is not None and config.data.limit is not None:
        total = min(total, config.data.limit)
    parameters = sum(p.numel() for p in model.parameters())
    records = "unknown (no sizes.json)" if total is None else str(total)
    ranks = ranks_to_start(config, ProcessInfo.here())
    lines = {
        "model": f"{config.model.name}, {parameters / 1e6:.1f} M parameters, {model.picture_shape}",
        "network": model.way,
        "shards": f"{len(run.sources)}, records: {records}",
        "calls": _calls(config, total),
        "metrics": ", ".join([*image_scores.NAMES, *config.task.scored, *config.metrics.scores]),
        "features": ", ".join(config.metrics.features) or "none",
        "processes": f"{ranks}, batches of {config.data.batch_size}",
        "out": f"{config.out}{_state(run)}",
    }
    lines |= timed_batch(run, pipeline, ranks, total) if timed else {}
    for name, value in lines.items():
        print(f"{name:10s} {value}")
    _say_what_would_fail(run, model)
    print("nothing was written")
    return DONE


def _state(run: Preflight) -> str:
    """What the run would find in OUT, and what of it has to be done once more."""
    if not run.out.exists(RUN):
        return ""
    if run.complete and not run.config.data.retry_failed:
        return " (complete: nothing is left to do)"
    stems = [source.stem for source in run.sources]
    again = damaged(run.out, list_commits(run.out, stems, run.pinned["fingerprint"], run.config.data.limit))
    return f" (continues; {damaged_text(again)})" if again else " (continues)"


def prepare(run: Preflight) -> int:
    """Pin the run, fetch weights, index the shards; for machines without a GPU but with a network."""
    model = load_pipeline(run).model
    load_judge(run, model)
    pin_anew(run.out, run.pinned)
    form, records = record_format(run.config, model), 0
    for source in run.sources:
        with ShardReader(source, form) as reader:
            records += len(reader)
            if reader.index.truncated:
                print(f"{source.url}: truncated: {reader.index.truncated}", file=sys.stderr)
            for remark in reader.index.remarks:
                print(f"{source.url}: {remark}", file=sys.stderr)
    _say_what_would_fail(run, model)
    print(f"{run.config.out}: pinned; {count_of(len(run.sources), 'shard')}, {count_of(records, 'record')}")
    return DONE


def _calls(config: Run, total: int | None) -> str:
    calls = config.task.calls(config.sampler, config.steps)
    if config.data.resize == "crop_to_mask":
        return f"{calls} of the denoiser a crop; how many crops a record has is known when its mask is read"
    return f"{calls} of the denoiser a record" + ("" if total is None else f", {calls * total} in all")


def _say_what_would_fail(run: Preflight, model: Model) -> None:
    for line in failing_first_records(run.sources, record_format(run.config, model)):
        print(line, file=sys.stderr)
