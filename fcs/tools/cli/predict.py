"""``fcs-predict``: shards in, shards out."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from fcs.core.discovery import submodules
from fcs.core.errors import UsageError
from fcs.core.exit_codes import DONE
from fcs.core.package_files import KEYS, SCRIPTS
from fcs.engine.signals import Stop
from fcs.tools.cli.ends import Parser, ending

HELP = """usage: fcs-predict --config FILE [--config FILE2 ...] [key=value ...]

Constrained sampling of every record in WebDataset shards; results and scores go to shards in OUT.

  --config FILE   a YAML file, or the name of a shipped one; later ones win
  key=value       wins over the files (also --key=value)
  --allow-imports PACKAGE[,PACKAGE]
                  packages besides fcs whose classes the files may choose; a class path on the command line itself
                  (task=package.Class) is always allowed
  --prepare       pin the run, fetch weights, index the shards; needs no GPU
  --dry-run       say what would be done and what it costs; write nothing
  --print-config  the resolved configuration as YAML
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
    for option in ("--config", "--allow-imports"):
        parser.add_argument(option, action="append", default=[])
    for flag in ("--prepare", "--dry-run", "--print-config", "--help", "-h"):
        parser.add_argument(flag, action="store_true")
    flags, overrides = parser.parse_known_args(given)
    if flags.help or flags.h:
        print(HELP.format(scripts=SCRIPTS) + _keys(), end="")
        return DONE
    # Below here torch and Lightning are imported, which takes seconds.
    from fcs.engine.config import allowed_imports, load_config

    if not flags.config and not overrides:
        raise UsageError("--config: expected a file or a shipped config; --help explains")
    read, settings = load_config.load(flags.config, overrides, allowed_imports.packages(flags.allow_imports))
    if flags.print_config:
        print(load_config.as_yaml(settings), end="")
        return DONE
    from fcs.engine.dry_run import dry_run, prepare
    from fcs.engine.predict import predict
    from fcs.engine.preflight import preflight

    stop.grace = read.trainer.grace
    run = preflight(read, settings)
    if flags.dry_run:
        return dry_run(run)
    if flags.prepare:
        return prepare(run)
    return predict(run, stop, given)


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
