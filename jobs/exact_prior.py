r"""How far samplers are from a posterior that is known, with a denoiser that makes no error.

    python jobs/exact_prior.py --out docs/figures/exact_prior.json

The prior is a kernel density: a picture is one of the 1,597 training digits under white noise of --bandwidth. Its x_0,
its J and the distribution of what a mask hides have closed forms, so what is left of a method's error is the method's
own. For each mask (a half; a box in the middle), noise prediction and flow, and each method and number of calls at its
published setting (--setting '{push: 1}' changes it, once for each setting that is asked for): the energy score of
--seeds completions of --records pictures drawn from the prior, minus that of as many exact draws (`excess`, 0 for a
perfect sampler), with 95 % intervals over records; `kept`, the share of completions whose digit has a probability
above .001 given what is shown; `spread`, the mean distance of two completions over that of two exact ones. A backward
counts as two calls. Prints a table a world; --plot draws the excess against calls.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from build_digits import SIDE, training_digits
from command import command
from torch import Tensor

from fcs.bench.methods import METHODS, Method, Setting, chosen_methods
from fcs.bench.options import numbers, one, whole
from fcs.bench.origin import origin, write_json
from fcs.bench.plots import Points, draw_lines
from fcs.bench.tables import markdown
from fcs.core.constraints import Known
from fcs.core.errors import UsageError
from fcs.core.images import to_float
from fcs.core.intervals import bootstrap_interval
from fcs.core.levels import Level, ddpm_levels, flow_levels
from fcs.core.per_sample import RecordNoise
from fcs.tools.cli.ends import Parser

LIKELY = 1e-3
TOP = 2.0  # of the plot: what is above is no completion
METHODS_SHOWN = "krylov,projected,newton-k1,newton-k5,replacement,gradient,local,ding,mmps,mmps-newton,mpgd"
WORLDS = [(mask, kind) for mask in ("half", "box") for kind in ("eps", "flow")]


@dataclass(frozen=True)
class KernelDensity:
    """A prior of ``K`` pictures under white noise, with exact x_0.

    Attributes:
        points: ``(K, D)``.
        bandwidth: standard deviation of the noise.
        shape: of a picture, ``(C, H, W)`` with D entries.
    """

    points: Tensor
    bandwidth: float
    shape: tuple[int, int, int]

    def x0(self, x: Tensor, level: Level) -> Tensor:
        """E[x_0 | x_t] ``(N, *shape)``."""
        flat, variance = x.flatten(1), level.alpha**2 * self.bandwidth**2 + level.sigma**2
        centre = torch.softmax(self._logits(flat / level.alpha, variance / level.alpha**2), 1) @ self.points
        gain = level.alpha * self.bandwidth**2 / variance
        return (centre + gain * (flat - level.alpha * centre)).view_as(x)

    def _logits(self, x: Tensor, variance: float, entries: Tensor | slice = slice(None)) -> Tensor:
        points = self.points[:, entries]
        return (x @ points.T - points.square().sum(1) / 2) / variance

    def drawn(self, which: Tensor, generator: torch.Generator) -> Tensor:
        """Pictures ``(N, D)`` around the points ``which`` ``(N,)``."""
        centre = self.points[which]
        return centre + self.bandwidth * torch.randn(centre.shape, generator=generator)

    def weights(self, shown: Tensor, entries: Tensor) -> Tensor:
        """Probabilities of the points ``(N, K)`` given ``entries`` ``(D,)`` of pictures ``(N, D)``."""
        return torch.softmax(self._logits(shown[:, entries], self.bandwidth**2, entries), 1)

    def nearest(self, x: Tensor) -> Tensor:
        """The point that each picture ``(N, D)`` is nearest to, ``(N,)``."""
        return self._logits(x, 1.0).argmax(1)


@dataclass(frozen=True)
class Study:
    """Pictures of the prior, what is shown of them, and exact completions.

    Attributes:
        prior: what they are from.
        truth: ``(N, D)``.
        known: ``(D,)`` bool.
        kind: ``eps`` for Stable Diffusion's levels, ``flow`` for a rectified flow's.
        seeds: of completions.
    """

    prior: KernelDensity
    truth: Tensor
    known: Tensor
    kind: str
    seeds: Sequence[int]

    @cached_property
    def weights(self) -> Tensor:
        """Probabilities of the prior's points ``(N, K)`` given what is shown."""
        return self.prior.weights(self.truth, self.known)

    def exact(self) -> list[Tensor]:
        """Draws ``(N, D)`` of the posterior, a seed each."""
        made = []
        for seed in self.seeds:
            generator = torch.Generator().manual_seed(1000 + seed)
            which = torch.multinomial(self.weights, 1, generator=generator)[:, 0]
            made.append(torch.where(self.known, self.truth, self.prior.drawn(which, generator)))
        return made

    @torch.no_grad()
    def completed(self, method: Method, steps: int) -> list[Tensor]:
        """Completions ``(N, D)`` by a method at its published setting, a seed each."""
        levels = self._levels(steps)
        sampler, made = method.build(method.published(steps, False)), []
        constraint = Known(self._shaped(self.truth), self._shaped(self.known.float().unsqueeze(0)))
        for seed in self.seeds:
            randn = RecordNoise([seed * len(self.truth) + slot for slot in range(len(self.truth))])
            x = levels[0].sigma * randn(self.prior.shape)
            made.append(sampler(x, levels, self.prior.x0, constraint, randn).flatten(1))
        return made

    def _levels(self, steps: int) -> list[Level]:
        if self.kind == "flow":
            first, *rest = flow_levels(steps)
            return [first._replace(alpha=1e-4), *rest]  # x_0 of pure noise is the limit, the mean of all pictures
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        return ddpm_levels(torch.cumprod(1 - betas, 0), steps)

    def _shaped(self, flat: Tensor) -> Tensor:
        return flat.reshape(-1, *self.prior.shape)

    def figures(self, made: list[Tensor], exact: list[Tensor]) -> dict[str, Any]:
        """What is told of completions."""
        hidden = ~self.known
        (score, apart), (least, exactly) = (self._energy([one[:, hidden] for one in some]) for some in (made, exact))
        excess, low, high = bootstrap_interval((score - least).double(), torch.arange(len(score)))
        kept = [self.weights.gather(1, self.prior.nearest(one).unsqueeze(1)) > LIKELY for one in made]
        return {
            "excess": {"mean": excess, "low": low, "high": high},
            "kept": torch.stack(kept).float().mean().item(),
            "spread": (apart / exactly).item(),
        }

    def _energy(self, made: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The energy score of each record ``(N,)``, and the mean distance of two completions."""
        away = torch.stack([(one - self.truth[:, ~self.known]).norm(dim=1) for one in made]).mean(0)
        pairs = [(made[i] - made[j]).norm(dim=1) for i in range(len(made)) for j in range(i)]
        apart = torch.stack(pairs).mean(0)
        return away - apart / 2, apart.mean()


def study(mask: str, kind: str, args: argparse.Namespace) -> Study:
    """A world with its records."""
    points = to_float(torch.from_numpy(training_digits()[0])).flatten(1)
    prior = KernelDensity(points, numbers(args.bandwidth, "--bandwidth")[0], (1, SIDE, SIDE))
    generator = torch.Generator().manual_seed(0)
    which = torch.randint(0, len(points), (one(args.records, "--records"),), generator=generator)
    known = torch.ones(SIDE, SIDE, dtype=torch.bool)
    if mask == "half":
        known[:, SIDE // 2 :] = False
    else:
        known[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4] = False
    return Study(prior, prior.drawn(which, generator), known.flatten(), kind, whole(args.seeds, "--seeds"))


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/exact_prior.py", __doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="JSON")
    add("--plot", type=Path, help="PNG")
    add("--methods", default=METHODS_SHOWN, metavar="A,B", help=f"of {', '.join(METHODS)} (those that know pixels)")
    add("--setting", action="append", default=[], metavar="{NAME: VALUE}", help="arguments of the methods' samplers")
    add("--calls", default="20,40,100", metavar="N,N", help="beside the published number (%(default)s)")
    add("--records", default="300", metavar="N", help="(%(default)s)")
    add("--seeds", default="0,1,2,3", metavar="N,N", help="(%(default)s)")
    add("--bandwidth", default="0.15", metavar="X", help="in pixels of [-1, 1] (%(default)s)")
    return parser


def asked_methods(args: argparse.Namespace) -> list[Method]:
    """The methods, each with every setting.

    Raises:
        UsageError: a setting that is no mapping, or not the sampler's.
    """
    methods, found = chosen_methods(args.methods), []
    for text in args.setting or ["{}"]:
        own = yaml.safe_load(text)
        if not isinstance(own, dict):
            raise UsageError.of("--setting", text, "{NAME: VALUE, ...}")
        for method in methods:
            found.append(with_setting(method, own))
            try:
                found[-1].build(found[-1].published(10, False))
            except (TypeError, ValueError) as error:
                raise UsageError(f"--setting={text}: {error}") from error
    return found


def with_setting(method: Method, own: dict[str, float]) -> Method:
    """A method whose published settings are changed, which its name then says."""

    def published(levels: int, superres: bool) -> Setting:
        return {**method.published(levels, superres), **own}

    name = ", ".join([method.name, *(f"{key} {value}" for key, value in own.items())])
    return replace(method, name=name, published=published)


def levels_for(method: Method, budget: int) -> int | None:
    """The most levels that a budget of calls buys at the method's published setting; None if not even one."""
    return method.levels_for(budget, lambda levels: method.published(levels, False))


def rows(one: Study, methods: list[Method], budgets: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each method and budget that buys it a level; the paper's loop at its own 220 calls first."""
    exact, found = one.exact(), []
    asked = [(METHODS["newton-k5"], 20)]
    for method in methods:
        levels = [levels_for(method, budget) for budget in budgets]
        asked += [(method, count) for count in levels if count is not None]
    for method, steps in dict.fromkeys(asked):
        calls = method.cost(method.published(steps, False), steps)
        facts = {"method": method.name, "calls": calls, "levels": steps}
        found.append({**facts, **one.figures(one.completed(method, steps), exact)})
    return found


def run(args: argparse.Namespace) -> None:
    """Sample, write, print.

    Raises:
        UsageError: an option out of its range.
    """
    methods, budgets, found = asked_methods(args), whole(args.calls, "--calls"), {}
    for mask, kind in WORLDS:
        made = rows(study(mask, kind, args), methods, budgets)
        found[f"{mask}, {kind}"] = made
        print(f"\n{mask}, {kind}\n")
        shown = [[row[name] for name in ("method", "calls", "excess", "kept", "spread")] for row in made]
        print(markdown(["method", "calls", "excess", "kept", "spread"], shown), flush=True)
    given = {"records": int(args.records), "seeds": args.seeds, "bandwidth": float(args.bandwidth)}
    write_json(args.out, {**origin(), **given, "worlds": found})
    if args.plot is not None:
        panels = {f"calls; {world}": lines(made) for world, made in found.items()}
        draw_lines(panels, "energy score above a perfect sampler's", args.plot, (3.3, 4), TOP)


def lines(made: list[dict[str, Any]]) -> dict[str, Points]:
    """Excess against calls, a line a method."""
    found: dict[str, Points] = {}
    for row in sorted(made, key=lambda row: row["calls"]):
        found.setdefault(row["method"], []).append((row["calls"], row["excess"]))
    return dict(sorted(found.items()))


if __name__ == "__main__":
    command(parser(), run)
