r"""How fast the inner steps bring x_0 to its constraint, for fixed step sizes and for the inf-norm step.

    python jobs/convergence.py --model digits-16 --out runs/convergence/digits
    python jobs/convergence.py --model emoji-64 --moves 3,5,10 --records 2 --out runs/convergence/emoji

Fixed: x_t <- x_t + lambda J e with lambda mu^2 as in --products, mu the largest absolute eigenvalue of J at the start:
to first order, and with everything known, the error along its eigenvector shrinks by |1 - lambda mu^2| a step.
Dynamic: x_t <- x_t + lambda_k d / |d|_inf with d = J e and lambda_k falling from --size to a fifth of it, as the
sampler does. At each t of --levels, for each record and each K of --moves; x_t starts as another record's picture,
noised to the level. Writes OUT/convergence.json and convergence.png. What follows the options are overrides of the
config.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from analysis.plots import draw_curves
from analysis.points import Point, parser_of, subject
from analysis.spectra import Tangent, largest
from command import configured

from fcs.bench.methods import arguments
from fcs.bench.options import numbers, whole
from fcs.bench.origin import origin, write_json
from fcs.core.directions import Newton
from fcs.core.per_sample import max_norm, safe_divide
from fcs.tools.cli.ends import Parser

DIVERGED = 1e6  # a relative error beyond which a curve ends


@torch.no_grad()
def fixed(point: Point, moves: int, step: float) -> list[float]:
    """Relative error before each move and after the last, ``moves + 1`` of them, for moves of ``step J e``."""
    return _curve(point, [step] * moves, dynamic=False)


@torch.no_grad()
def dynamic(point: Point, sizes: list[float]) -> list[float]:
    """The same for moves along J e whose largest entry is a given size."""
    return _curve(point, sizes, dynamic=True)


def _curve(point: Point, sizes: list[float], dynamic: bool) -> list[float]:
    x, newton = point.x, Newton()
    x0, J = newton.linearize(point.f, x)
    e = point.constraint.error(x0)
    start, curve = e.norm().item(), [1.0]
    for size in sizes:
        d = J(e)
        x = x + size * (safe_divide(d, max_norm(d)) if dynamic else d)
        x0, J = newton.linearize(point.f, x)
        e = point.constraint.error(x0)
        left = e.norm().item() / start if start else 0.0
        if not left < DIVERGED:
            break
        curve.append(left)
    return curve


def studied(point: Point, moves: list[int], products: list[float], size: float) -> dict[str, Any]:
    """All curves at one point, by K and rule."""
    mu = largest(Tangent(point.f, point.x).times, point.x, 1)[0]
    curves: dict[str, dict[str, list[float]]] = {}
    for k in moves:
        found = {f"lambda mu^2 = {product:g}": fixed(point, k, product / mu**2) for product in products}
        sizes = arguments({"moves": k, "size": size, "last": 0.2})["step_sizes"]
        curves[str(k)] = {**found, "inf-norm step": dynamic(point, sizes)}
    return {"record": point.record, "t": point.level.t, "mu": mu, "curves": curves}


def means(points: list[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Mean curves over records, by level and K; as long as the shortest."""
    panels: dict[str, dict[str, list[float]]] = {}
    for t in dict.fromkeys(one["t"] for one in points):
        for k in points[0]["curves"]:
            chosen = [one["curves"][k] for one in points if one["t"] == t]
            panels[f"t={t:.0f}, K={k}"] = {
                rule: [sum(values) / len(values) for values in zip(*(one[rule] for one in chosen), strict=False)]
                for rule in chosen[0]
            }
    return panels


def parser() -> Parser:
    """Command line."""
    parser = parser_of("convergence", __doc__)
    parser.add_argument("--moves", default="3,5,10", help="K, comma separated (%(default)s)")
    parser.add_argument("--products", default="0.5,1.5,3.0", help="lambda mu^2, comma separated (%(default)s)")
    parser.add_argument("--size", type=float, default=0.5, help="first size of the inf-norm step (%(default)s)")
    return parser


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Study and write.

    Raises:
        UsageError: an option that does not fit.
    """
    ts, products = numbers(args.levels, "--levels"), numbers(args.products, "--products")
    moves = list(whole(args.moves, "--moves"))
    dtype = torch.float32 if args.float32 else torch.float64
    about = subject(args.model, args.config, overrides, args.records, dtype)
    args.out.mkdir(parents=True, exist_ok=True)
    points = [studied(point, moves, products, args.size) for point in about.points(ts)]
    panels = means(points)
    facts = {**origin(), "model": args.model, "dtype": str(dtype).removeprefix("torch.")}
    write_json(args.out / "convergence.json", {**facts, "means": panels, "points": points})
    draw_curves(panels, args.out / "convergence.png", len(moves))
    for name, curves in panels.items():
        print(name, {rule: float(f"{curve[-1]:.3g}") for rule, curve in curves.items()})


if __name__ == "__main__":
    configured(parser(), run)
