"""``fcs-bench``: which method for which model and data. Options are read here, before torch is imported."""

from __future__ import annotations

import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import FrameType

from fcs.bench.methods import METHODS
from fcs.bench.options import OPTIONS, refuse_options
from fcs.bench.tasks import TASKS
from fcs.core.errors import Interrupted, UsageError
from fcs.engine.signals import SIGNALS
from fcs.tools.cli.ends import Parser, ending

NEEDED = ("scipy", "matplotlib")  # the packages of the extra `bench`
HELP = """usage: fcs-bench COMMAND [options] [key=value ...]

Which method for which model and data: runs of fcs-predict over several seeds, compared on the same records.

  compare   methods at the same number of denoiser calls
  tune      settings for each method, on training data
  ablate    variants of a configuration
  fit       a model's own setting for a number of calls
  gpu       what a card does: speed, memory, and whether its results are right
  equal     whether a setting is as good as another, from evaluations that are there

fcs-bench COMMAND --help explains. The same command again continues what was interrupted.
"""
CODES = "exit codes: those of fcs-predict, 3 apart: records that failed are counted in the rows\n"
OVERRIDES = """\
key=value: overrides of every config, as for fcs-predict. Run the same command again to continue what was interrupted.
"""
TASK_NAMES, METHOD_NAMES = (
    textwrap.fill(f"{kind}: {', '.join(names)}", 118, subsequent_indent="  ")
    for kind, names in (("tasks", TASKS), ("methods", [*METHODS, "or class paths of samplers (package.Class)"]))
)
NAMES = f"{TASK_NAMES}\n{METHOD_NAMES}"
COMPARE = f"""\
Methods on the same model, records and seeds.

--calls is a budget of denoiser calls a record, a backward counted as two, for which each method gets as many levels as
it can pay; several budgets give curves; `published` is each method's published number of levels. Settings are the
published ones unless --tuned names what `fcs-bench tune` found, on this model or (its row says so) on another. A method
that does not apply keeps its row with calls 0 and a note. sd-inpaint is DDIM on the model of --inpaint-model. A style
has no truth: its rows have style and clip scores. Writes OUT/compare.json (rows), compare.md, compare.png (quality
against calls), pictures-BUDGET.png (ten records drawn by seed 0) and, of tuned methods,
configs/BUDGET/CONFIG_METHOD.yaml for fcs-predict.

{NAMES}
"""
TUNE = f"""\
Settings for each method on training data, which must not be the records of a comparison (--data).

The same number of trials for all. The first is the published setting. Half of the others are spread over the method's
space (one to five numbers), the rest are steps from the best so far; a best that lies at an end of its range is
followed beyond it. The published setting and the best five others run once more, with other seeds and on four times as
many records (or all that there are), and the smallest mean energy score of a setting without failed records is chosen.
Writes OUT/trials.json, which `fcs-bench compare --tuned OUT` takes. Every trial has the levels that --calls buys.

{NAMES}
"""
FIT = f"""\
A model's own setting of Newton-Krylov or projected Newton for a number of calls, by search, with this command alone.

Without --data the model draws the records itself (50 steps, empty prompts) and masks are generated as the task says:
what is hidden then has exactly the distribution that a perfect sampler would complete it from. The first trial is the
sampler's default. Half of the others are spread over the space (where the moves or products are, the sampler's sizes
and memory, new noise, length of the difference), the rest are steps from the best. The best five run once more, with
other seeds and on four times as many records, and the smallest mean energy score of these and the default wins. Writes
OUT/fit.json and the winner as OUT/CONFIG_CALLS.yaml for fcs-predict --config.

{TASK_NAMES}
"""
ABLATE = """\
Variants of a configuration on the same records and seeds, each with its paired difference to the first.

    fcs-bench ablate --config digits_half --vary steps=5,10 --vary "sampler.step_sizes=[0.5],[0.5,0.1]" --out DIR
    fcs-bench ablate --variants guidance --out DIR

--variants names a YAML file with a config and its variants, each a name and a list of overrides, or a shipped one. With
--config alone the config is evaluated as it is. Writes OUT/ablate.json (a row a variant, with intervals), ablate.md,
ablate.png (the same records in every variant) and VARIANT/evaluate.json.
"""
EQUAL = """\
Whether a setting is as good as another: the share that it closes of the gap from a worse one to that other.

    fcs-bench equal --worst DIR/replacement-40 --best DIR/newton-k5-published --found DIR/projected-40 --out equal.json

Each folder has an evaluate.json of compare or ablate, on the same records and seeds. Equal: at least 95 % of the gap
closed, the lower end of the 95 % interval at least 80 %; undecided where the gap's own interval includes 0.
"""

GPU = """\
What a card does, in the minutes there are.

    fcs-bench gpu --out DIR --minutes 7

Networks of Stable Diffusion 1.5's and SDXL's size with random weights, in bf16: seconds a picture by calls and batch,
share of the card's own rate for bf16 matrix products, memory; the shipped models in 32, bf16 and 16 against the CPU's
results; cosines of J e; 32 pictures decoded at once; deterministic kernels; records a second of a core of the host;
fcs-predict with everything on against its network alone; compiled and as CUDA graphs. In this order; what the minutes
do not allow is left out, and measured by the same command again. Writes OUT/gpu.json and gpu.md, anew after each row.
"""


def compare(parser: Parser) -> None:
    """Options of compare."""
    subject(parser)
    add = parser.add_argument
    add("--calls", default="100", metavar="N[,N]|published", help="budgets (%(default)s)")
    add("--limit", metavar="N", help="first N records (all)")
    add("--tuned", metavar="DIR", help="folder of fcs-bench tune")
    add("--inpaint-model", metavar="NAME", help="model.name of one trained for inpainting, for the method sd-inpaint")
    add("--reference", metavar="GLOB", help="shards of training pictures that KID and FID are taken against")
    add("--against", metavar="METHOD", help="of the paired differences (newton-k1, or the first)")
    add("--memory", action="store_true", help="measure peak memory, each method in a process of its own")


def tune(parser: Parser) -> None:
    """Options of tune."""
    subject(parser)
    add = parser.add_argument
    add("--calls", default="100", metavar="N|published", help="budget (%(default)s)")
    add("--limit", default="50", metavar="N", help="first N records (%(default)s)")
    add("--trials", default="40", metavar="N", help="of each method (%(default)s)")
    add("--draw", default="0", metavar="N", help="seed of the settings that are tried (%(default)s)")


def fit(parser: Parser) -> None:
    """Options of fit."""
    of_model(parser)
    add = parser.add_argument
    add("--data", metavar="GLOB", help="shards with pictures, and with masks for inpainting (the model's own pictures)")
    add("--sampler", metavar="NAME", help="krylov or projected (krylov for inpainting, else projected)")
    add("--calls", default="20", metavar="N", help="denoiser calls a record (%(default)s)")
    add("--limit", default="48", metavar="N", help="records (%(default)s)")
    add("--trials", default="40", metavar="N", help="settings (%(default)s)")
    add("--draw", default="0", metavar="N", help="seed of pictures and settings (%(default)s)")


def subject(parser: Parser) -> None:
    """Options that say which methods are compared on what."""
    of_model(parser)
    add = parser.add_argument
    add("--methods", default="all", metavar="A,B", help="names or class paths (all)")
    add("--data", metavar="GLOB", help="shards with pictures, and with masks for inpainting (those that ship)")


def of_model(parser: Parser) -> None:
    """Options of what a model is tried at."""
    add = parser.add_argument
    add("--model", required=True, metavar="NAME", help="an embedded model, a diffusers folder or a hub name")
    add("--task", required=True, metavar="TASK", help="one of those above")
    add("--seeds", default="0,1", metavar="N,N", help="the energy score needs two (%(default)s)")
    add("--captions", action="store_true", help="give the records' prompts to the model")
    add("--out", required=True, metavar="DIR")


def ablate(parser: Parser) -> None:
    """Options of ablate."""
    add = parser.add_argument
    add("--config", metavar="CONFIG", help="as for fcs-predict; wins over that of --variants")
    add("--variants", metavar="FILE", help="a config and its variants")
    add("--vary", action="append", default=[], metavar="KEY=V,V", help="values of a key, one at a time")
    add("--full", action="store_true", help="all combinations of --vary")
    add("--model", metavar="NAME", help="model.name (the config's)")
    add("--data", metavar="GLOB", help="data.shards (the config's)")
    add("--limit", metavar="N", help="first N records (all)")
    add("--seeds", default="0,1", metavar="N,N", help="the energy score needs two (%(default)s)")
    add("--captions", action="store_true", help="give the records' prompts to the model")
    add("--out", required=True, metavar="DIR")


def equal(parser: Parser) -> None:
    """Options of equal."""
    add = parser.add_argument
    add("--worst", required=True, metavar="DIR", help="where the gap begins")
    add("--best", required=True, metavar="DIR", help="where it ends")
    add("--found", required=True, metavar="DIR", help="what is judged")
    add("--out", required=True, metavar="FILE", help="JSON")
    add("--pictures", metavar="FILE", help="PNG: ten records drawn by seed 0, a row a folder")
    add("--beside", nargs="+", default=[], metavar="DIR", help="more folders for the pictures")


def gpu(parser: Parser) -> None:
    """Options of gpu."""
    add = parser.add_argument
    add("--out", required=True, metavar="DIR")
    add("--minutes", default="7", metavar="N", help="after which no part is begun (%(default)s)")
    add("--device", default="cuda", metavar="cuda|cpu", help="cpu tries the command at tiny sizes (%(default)s)")


COMMANDS: dict[str, tuple[str, Callable[[Parser], None]]] = {
    "compare": (COMPARE, compare),
    "tune": (TUNE, tune),
    "fit": (FIT, fit),
    "ablate": (ABLATE, ablate),
    "equal": (EQUAL, equal),
    "gpu": (GPU, gpu),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code. Every way to end early is one line on stderr."""

    def work() -> int:
        with interruptible():
            return _bench(sys.argv[1:] if arguments is None else arguments)

    return ending("fcs-bench", work)


def _bench(given: list[str]) -> int:
    if not given or given[0] in ("--help", "-h"):
        print(HELP, end="")
        return 0
    name = given[0]
    if name == "--version":
        print(Parser("fcs-bench").version_line)
        return 0
    if name not in COMMANDS:
        raise UsageError.of("COMMAND", name, f"one of {', '.join(COMMANDS)}", COMMANDS)
    text, add = COMMANDS[name]
    parser = Parser(f"fcs-bench {name}", text, (OVERRIDES if name in OPTIONS else "") + CODES)
    add(parser)
    found = parser.read_with_overrides(given[1:])
    if found is None:
        return 0
    needed = () if name == "gpu" else NEEDED  # which is for machines with nothing but torch
    if missing := [package for package in needed if find_spec(package) is None]:
        raise UsageError(f"expected the packages {', '.join(NEEDED)}, found no {missing[0]}: pip install '.[bench]'")
    refuse_options(name, found[1])
    # Below here torch is imported, which takes a second; mistakes in options are told before.
    from fcs.bench.trial import RunFailed

    try:
        import_module(f"fcs.bench.{name}").run(*found)
    except RunFailed as error:  # fcs-predict has said why
        return error.code
    return 0


@contextmanager
def interruptible() -> Iterator[None]:
    """A signal between two runs ends the command; within one fcs-predict has handlers of its own."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(f"stopped by {signal.Signals(number).name}; run the same command again")

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
