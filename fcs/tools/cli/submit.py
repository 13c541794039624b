"""``fcs-submit``: the processes of a run, started by a cluster's own engine."""

from __future__ import annotations

import sys
from argparse import Namespace

from fcs.core.exit_codes import DONE
from fcs.engine.signals import Stop
from fcs.tools.cli.ends import Parser, ending
from fcs.tools.submit.options import ENGINES, MOUNT, check, environment, pods, split, submission

HELP = """\
Starts the run of fcs-predict --config CONFIG key=value ... as N workers on a cluster, by the cluster's own engine. They
share the work through the run's folder, which all of them must see. The same command, with any N, goes on with what is
left.
"""
CODES = """\
On slurm, what follows -- goes to sbatch: --on slurm --workers 8 -- --partition=gpu --time=4:00:00

exit codes: 0 submitted, or with --on ray all records done; 2 usage, nothing submitted; 70 defect, 75 interrupted; with
--on ray the highest of the workers' (as of fcs-predict)
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code. Every error is one line on stderr."""

    def work() -> int:
        with Stop(grace=float("inf"), last=arguments is None) as stop:
            return _submit(sys.argv[1:] if arguments is None else arguments, stop)

    return ending("fcs-submit", work)


def _parser() -> Parser:
    parser = Parser("fcs-submit", HELP, CODES)
    parser.usage = "fcs-submit CONFIG [key=value ...] --on ENGINE --workers N [options] [-- options of sbatch]"
    add = parser.add_argument
    add("config", metavar="CONFIG", help="a YAML file, or the name of a shipped one; then key=value ...")
    add("--config", dest="more", action="append", default=[], metavar="FILE", help="another file, which wins over it")
    add("--allow-imports", action="append", default=[], metavar="PACKAGE", help="as of fcs-predict")
    add("--on", metavar="ENGINE", help=", ".join(ENGINES))
    add("--workers", metavar="N", help="number of workers: array tasks, Ray tasks or pods")
    add("--gpus", default="1", metavar="N", help="of each worker (1); 0 for none")
    add("--cpus", default="4", metavar="N", help="of each worker, and threads where there is no GPU (4)")
    add("--retries", metavar="N", help="how often a lost or interrupted worker is started again (20)")
    add("--dry-run", action="store_true", help="only print what would be submitted")
    ray = parser.add_argument_group("on ray").add_argument
    ray("--address", metavar="ADDRESS", help="of a running cluster, or auto for the one of this machine (RAY_ADDRESS, "
        "else one that is started here and ends with the run)")  # fmt: skip
    ray("--detach", action="store_true", help="do not wait; needs a running cluster")
    ray("--env", action="append", metavar="NAME=VALUE", help="a variable of the workers' (also on kubernetes)")
    kube = parser.add_argument_group("on kubernetes").add_argument
    kube("--image", metavar="IMAGE", help="container image with fcs in it")
    kube("--claim", metavar="NAME", help="volume claim for inputs and OUT, where these are not URLs")
    kube("--mount", metavar="PATH", help=f"where the volume is seen, and what relative paths start from ({MOUNT})")
    kube("--secret", metavar="NAME", help="secret whose keys become variables, such as a store's credentials")
    kube("--name", metavar="NAME", help="of the job; by default a new one each time")
    kube("--namespace", metavar="NAME", help="by default kubectl's")
    kube("--apply", action="store_true", help="hand the manifest to kubectl instead of printing it")
    return parser


def _submit(given: list[str], stop: Stop) -> int:
    own, handed = split(given)
    found = _parser().read_with_overrides(own)
    if found is None:
        return DONE
    options, overrides = found
    check(options, handed)
    if options.on == "slurm":
        from fcs.tools.submit import slurm_array

        if not options.dry_run:
            slurm_array.check_sbatch()
        slurm_array.submit(submission(options, overrides, given), handed, options.dry_run)
        return DONE
    if options.on == "kubernetes":
        return _to_kubernetes(options, overrides, given)
    return _to_ray(options, overrides, given, stop)


def _to_kubernetes(options: Namespace, overrides: list[str], given: list[str]) -> int:
    from fcs.tools.submit import kubernetes_job

    needs, apply = pods(options), options.apply and not options.dry_run
    if apply:
        kubernetes_job.check_kubectl()
    kubernetes_job.submit(submission(options, overrides, given), needs, apply)
    return DONE


def _to_ray(options: Namespace, overrides: list[str], given: list[str], stop: Stop) -> int:
    from fcs.tools.submit import ray_run

    address, variables = ray_run.where(options.address, options.detach), environment(options.env)
    if not options.dry_run:
        ray_run.check_ray()
    wanted = submission(options, overrides, given)
    return ray_run.submit(wanted, address, variables, options.detach, options.dry_run, stop)


if __name__ == "__main__":
    sys.exit(main())
