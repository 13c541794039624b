"""The main job: one command's part of a run, from the checks to what is said at the end."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from fcs.engine.data_module import ShardDataModule
from fcs.engine.final_report import final_report
from fcs.engine.graceful_stop import GracefulStop
from fcs.engine.pipeline_loading import load_judge, load_pipeline
from fcs.engine.predict_module import PredictModule
from fcs.engine.preflight import Preflight
from fcs.engine.process_info import ProcessInfo
from fcs.engine.shard_writer import ShardWriter
from fcs.engine.signals import Stop
from fcs.engine.trainer import limit_threads, ranks_to_start, trainer
from fcs.shards.ledger.commit_tracker import finish_run
from fcs.shards.ledger.repin import pin_anew


def predict(run: Preflight, stop: Stop, arguments: Sequence[str]) -> int:
    """Do the run, or this process's share of it; returns the exit code.

    Args:
        run: what to do.
        stop: handles signals.
        arguments: of the command line, for the ranks that this process starts.

    Raises:
        RanksFailed: of several ranks one ended badly.
    """
    info = ProcessInfo.here()
    count = ranks_to_start(run.config, info)
    # Once a launch: by the parent, by torchrun's first rank; tasks of SLURM agree among themselves.
    run = run.retried(here=not info.started and (info.launcher != "torchrun" or info.rank == 0))
    group = run.config.trainer.strategy == "ddp" and info.world > 1
    if run.complete and not group:  # the ranks of a process group wait for each other, so all of them come
        finish_run(run.out)
    else:
        if count > 1:
            _check_once(run, stop)
        limit_threads(info)
        _sample(run, info, count, stop, arguments)
    return final_report(run.out, quiet=not info.speaks)


def _check_once(run: Preflight, stop: Stop) -> None:
    """What each rank would find wrong is said once, by their parent, which pins the run for them."""
    load_judge(run, load_pipeline(run).model)
    stop.check()
    pin_anew(run.out, run.pinned)


def _sample(run: Preflight, info: ProcessInfo, count: int, stop: Stop, arguments: Sequence[str]) -> None:
    """Sample whatever is not done yet, together with any other process on the same folder."""
    # -P: what lies in the working directory must not be imported for a package of that name.
    command = [sys.executable, "-P", "-m", "fcs.tools.cli.predict", *arguments]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec")  # Lightning 2.6 with torch 2.13
        warnings.filterwarnings("ignore", message="The `srun` command")  # one process needs none
        one = trainer(run.config, info, count, [ShardWriter(run, notes=False), GracefulStop(stop=stop)], command)
        one.predict(PredictModule(run), datamodule=ShardDataModule(run), return_predictions=False)
