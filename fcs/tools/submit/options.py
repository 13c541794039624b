"""The options of ``fcs-submit``, checked: what is wrong is said before torch is imported, and nothing is submitted."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fcs.core.errors import UsageError
from fcs.tools.cli.words import whole
from fcs.tools.submit.submission import Submission

if TYPE_CHECKING:
    from fcs.tools.submit.kubernetes_job import Pods

ENGINES = ("slurm", "ray", "kubernetes")
# Options that some engines have no use for.
BELONG = {
    "address": ("ray",),
    "detach": ("ray",),
    "env": ("ray", "kubernetes"),
    "image": ("kubernetes",),
    "claim": ("kubernetes",),
    "mount": ("kubernetes",),
    "secret": ("kubernetes",),
    "name": ("kubernetes",),
    "namespace": ("kubernetes",),
    "apply": ("kubernetes",),
}
MOUNT = "/data"  # where a pod sees the volume


def split(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's own words, and those after ``--``."""
    place = list(given).index("--") if "--" in given else len(given)
    return list(given[:place]), list(given[place + 1 :])


def check(options: Namespace, handed: Sequence[str]) -> None:
    """Refuse what no engine, or another one, could use.

    Args:
        options: of the command.
        handed: the words after ``--``.

    Raises:
        UsageError: no such engine, an option that is another one's, a number that is none.
    """
    if options.on is None:
        raise UsageError(f"--on: expected one of {', '.join(ENGINES)}")
    if options.on not in ENGINES:
        raise UsageError.of("--on", options.on, f"one of {', '.join(ENGINES)}", ENGINES)
    for name, engines in BELONG.items():
        if getattr(options, name) and options.on not in engines:
            raise UsageError(f"--{name}: expected --on {' or '.join(engines)}, not {options.on}")
    if handed and options.on != "slurm":
        raise UsageError(f"{handed[0]}: expected nothing after -- with --on {options.on}")
    if options.workers is None:
        raise UsageError("--workers: expected how many")
    for name, least in (("workers", 1), ("gpus", 0), ("cpus", 1), ("retries", 0)):
        if getattr(options, name) is not None:
            whole(f"--{name}", getattr(options, name), least)


def environment(given: Sequence[str] | None) -> dict[str, str]:
    """The variables of ``--env``.

    Raises:
        UsageError: one is not written NAME=VALUE.
    """
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UsageError.of("--env", text, "NAME=VALUE")
        found[name] = value
    return found


def pods(options: Namespace) -> Pods:
    """What the options say of pods.

    Raises:
        UsageError: no image, a name or a path that is none, a path without a volume.
    """
    from fcs.tools.submit.kubernetes_job import Pods, check_name

    if not options.image:
        raise UsageError("--image: expected a container image with fcs in it")
    if options.mount and not options.claim:
        raise UsageError.of("--mount", options.mount, "--claim beside it: the volume that is seen there")
    if options.mount and not options.mount.startswith("/"):
        raise UsageError.of("--mount", options.mount, "an absolute path")
    if options.name:
        check_name(options.name, int(options.workers))
    return Pods(
        options.image,
        options.claim,
        options.mount or MOUNT,
        options.name,
        options.namespace,
        options.secret,
        environment(options.env),
    )


def submission(options: Namespace, overrides: Sequence[str], given: Sequence[str]) -> Submission:
    """What is to be submitted, checked as ``fcs-predict`` does, as far as this machine sees it.

    Args:
        options: of the command.
        overrides: ``key=value``.
        given: the whole command line.

    Raises:
        UsageError: as of ``fcs-predict``.
    """
    from fcs.engine.config import first_look

    configs = [options.config, *options.more]
    first_look.first_look(configs, overrides)
    # Below here torch is imported, which takes seconds.
    from fcs.engine.config import allowed_imports, load_config
    from fcs.shards.input.sources import resolve

    packages = allowed_imports.packages(options.allow_imports)
    run, _ = load_config.load(configs, list(overrides), packages)
    elsewhere = options.on == "kubernetes" or str(options.address).startswith("ray://")
    if not elsewhere:
        resolve(run.data.shards)
    return Submission(
        configs=tuple(configs),
        overrides=tuple(overrides),
        packages=tuple(packages),
        out=run.out,
        grace=run.trainer.grace,
        workers=int(options.workers),
        gpus=int(options.gpus),
        cpus=int(options.cpus),
        retries=None if options.retries is None else int(options.retries),
        command=("fcs-submit", *given),
    )
