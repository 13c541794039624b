"""``fcs-predict``: shards in, shards out."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from fcs.core.discovery import submodules
from fcs.core.errors import UsageError
from fcs.core.exit_codes import DONE
from fcs.core.package_files import KEYS, SCRIPTS
from fcs.core.plurals import count_of
from fcs.engine.process_info import ProcessInfo
from fcs.engine.signals import Stop
from fcs.tools.cli.ends import Parser, ending
from fcs.tools.cli.words import joined, said_later

if TYPE_CHECKING:
    from fcs.engine.preflight import Preflight

START_SECONDS = 3.0  # what takes longer than this to begin is announced
HELP = """usage: fcs-predict --config FILE [--config FILE2 ...] [key=value ...]

Constrained sampling of every record in WebDataset shards; results and scores go to shards in OUT.

  --config FILE   a YAML file, or the name of a shipped one; later ones win (also -c)
  key=value       wins over the files (also --key=value, --key value)
  --allow-imports PACKAGE[,PACKAGE]
                  packages besides fcs whose classes the files may choose; a class path on the command line itself
                  (task=package.Class) is always allowed
  --prepare       pin the run, fetch weights, index the shards; needs no GPU
  --dry-run       say what would be done, what it costs and what would fail; write nothing
  --time          with --dry-run: sample one batch, and say how many hours all of them take
  --print-config  the resolved configuration as YAML
  --version       the package's version
  --help          this text

Run the same command again to continue a run that was interrupted.

On a SLURM cluster: sbatch --array=0-7 {scripts}/array.sbatch CONFIG [key=value ...]

exit codes: 0 all records done, 2 usage, 3 some records failed, 4 too many failed, 70 defect, 74 storage,
75 interrupted

keys:
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code. Every way to end early is one line on stderr.

    Args:
        arguments: those of the command line if left out. A caller in Python gets its signal handlers back; the
            command ignores signals once all is done, so that none spoils its exit code while Python winds down.
    """

    def work() -> int:
        with Stop(last=arguments is None) as stop:
            return _run(sys.argv[1:] if arguments is None else arguments, stop)

    return ending("fcs-predict", work)


def _run(given: list[str], stop: Stop) -> int:
    parser = Parser("fcs-predict", add_help=False)
    parser.add_argument("--config", "-c", action="append", default=[])
    parser.add_argument("--allow-imports", action="append", default=[])
    for flag in ("--prepare", "--dry-run", "--time", "--print-config", "--help", "-h"):
        parser.add_argument(flag, action="store_true")
    flags, rest = parser.parse_known_args(parser.with_dashes(given))
    if flags.help or flags.h:
        print(HELP.format(scripts=SCRIPTS) + _keys(), end="")
        return DONE
    if flags.version:
        print(parser.version_line)
        return DONE
    if flags.time and not flags.dry_run:
        raise UsageError("--time: expected --dry-run beside it")
    from fcs.engine.config import first_look

    overrides = joined(rest, first_look.listed_keys())
    if not flags.config and not overrides:
        raise UsageError("--config: expected a file or a shipped config; --help explains")
    keys = first_look.first_look(flags.config, overrides)
    # Below here torch is imported, which takes seconds.
    from fcs.engine.config import allowed_imports, load_config

    read, settings = load_config.load(flags.config, overrides, allowed_imports.packages(flags.allow_imports))
    if flags.print_config:
        print(load_config.as_yaml(settings), end="")
        return DONE
    from fcs.engine.preflight import preflight

    stop.grace = read.trainer.grace
    run = preflight(read, settings)
    if len(flags.config) > 1 and "out" not in keys and ProcessInfo.here().speaks:
        print(f"out={read.out}, by the name of the last --config; out=... says another", flush=True)
    return _work(run, flags, given, stop)


def _work(run: Preflight, flags: Namespace, given: list[str], stop: Stop) -> int:
    """What was asked for. Lightning and the model's library are imported here, which takes longer than torch."""
    with said_later(_beginning(run), START_SECONDS, here=ProcessInfo.here().speaks):
        from fcs.engine.dry_run import dry_run, prepare
        from fcs.engine.predict import predict

        if flags.dry_run:
            return dry_run(run, flags.time)
        if flags.prepare:
            return prepare(run)
        return predict(run, stop, given)


def _beginning(run: Preflight) -> str:
    """What is about to be done, for whoever waits while libraries and weights are loaded."""
    config = run.config
    calls = config.task.calls(config.sampler, config.steps)
    return (
        f"{count_of(len(run.sources), 'shard')} to {config.out} by {config.model.name}, {calls} network calls a record"
    )


def _keys() -> str:
    """The keys as the package's file lists them, or listed anew where a module of classes was added since."""
    scanned, _, keys = KEYS.read_text().partition("\n\n")
    packages = dict(line.split(": ") for line in scanned.splitlines())
    if all(" ".join(submodules(package)) == names for package, names in packages.items()):
        return keys
    from fcs.engine.config.key_help import describe

    return describe()


def command() -> NoReturn:
    """The command as a process of its own, which ends as soon as all is written and said.

    While an interpreter goes down, a thread of a library's that is stopped inside C++ aborts the process ("terminate
    called without an active exception"), and a finished run would end with another code than its own.
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a closed pipe
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    command()
