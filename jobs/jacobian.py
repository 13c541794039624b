r"""The Jacobian J = d x_0 / d x_t of a model: is it symmetric, how large is it, where do its directions point?

    python jobs/jacobian.py --model digits-16 --out runs/jacobian/digits
    python jobs/jacobian.py --model emoji-64 --records 2 --out runs/jacobian/emoji
    python jobs/jacobian.py --model PATH --config sd15_half --float32 --records 1 --out DIR data.shards=SHARDS

At each t of --levels, for each record: entries J_ij against J_ji (or, where J is too large to be formed, <u_i, J u_j>
against <u_j, J u_i> for random unit u); the largest absolute eigenvalues of J, (J + J^T)/2 and (J - J^T)/2 by Arnoldi,
with products only; cosines between the exact direction J^-1 e (tiny models), J e, the sampler's forward difference of
it, J^T e and e for the error e of the record's constraint; the response to one entry; and a grid to whose middle a red
square is added. x_t is another record's picture noised to the level. Writes OUT/jacobian.json, symmetry.png,
eigenvalues.png, cosines.png, responses.png and square.png. What follows the options are overrides of the config.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from analysis.plots import draw_bars, draw_eigenvalues, draw_pictures, draw_symmetry
from analysis.points import Point, Subject, parser_of, subject
from analysis.spectra import Tangent, asymmetry, cosine, mirrored, probes, spectra
from analysis.views import edited, grid, response, with_square
from command import configured
from torch import Tensor

from fcs.bench.options import numbers
from fcs.bench.origin import origin, write_json
from fcs.core.directions import Gradient, Newton
from fcs.tools.cli.ends import Parser

FULL = 256  # entries up to which J is formed
CUTOFF = 0.5  # of the exact direction, as published
PROBES = 40  # random directions where J is not formed
KEPT = 2000  # pairs of entries in the plot


def directions(point: Point, tangent: Tangent, J: Tensor | None) -> dict[str, Tensor]:
    """The directions for the error of the point's constraint, each like x."""
    e = point.constraint.error(tangent.x0)
    with torch.no_grad():
        difference = Newton().linearize(point.f, point.x)[1](e)
    found = {"J e": tangent.times(e), "J e, difference": difference, "J^T e": tangent.transposed(e), "e": e}
    if J is not None:
        exact = torch.linalg.pinv(J, rtol=CUTOFF) @ e.flatten()
        found = {"J^-1 e": exact.reshape(e.shape), **found}
    return found


def cosines(found: dict[str, Tensor]) -> dict[str, float]:
    """Cosines of all pairs, by the names of both."""
    names = list(found)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return {f"{a} | {b}": cosine(found[a], found[b]) for a, b in pairs}


def analysed(point: Point, count: int) -> tuple[dict[str, Any], tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """All figures at one point, its mirrored entries, its responses."""
    tangent = Tangent(point.f, point.x)
    J = tangent.matrix() if point.x.numel() <= FULL else None
    first, second = mirrored(probes(tangent, PROBES) if J is None else J)
    figures = {
        **{"record": point.record, "t": point.level.t, "alpha": point.level.alpha, "sigma": point.level.sigma},
        "asymmetry": asymmetry(first, second),
        "correlation": torch.corrcoef(torch.stack([first, second]))[0, 1].item(),
        "eigenvalues": spectra(tangent, count),
        "cosines": cosines(directions(point, tangent, J)),
    }
    every = torch.linspace(0, len(first) - 1, min(KEPT, len(first))).long()
    return figures, (first[every].cpu(), second[every].cpu()), response(tangent)


def squares(subject: Subject, ts: list[float]) -> tuple[list[str], list[list[Tensor]]]:
    """Labels and rows of pictures: the grid, the edit, x_0 of it without moves and after moves along J e or J^T e."""
    plain = grid(subject.model.picture_shape)
    rows = []
    for t in ts:
        level = subject.level(t)
        moved = [edited(subject, level, Newton(), 0)] + [edited(subject, level, d) for d in (Newton(), Gradient())]
        rows.append([plain, with_square(plain), *moved])
    return ["grid", "with the square", "x0 before", "x0 after J e", "x0 after J^T e"], rows


def parser() -> Parser:
    """Command line."""
    parser = parser_of("jacobian", __doc__)
    parser.add_argument("--count", type=int, default=6, help="eigenvalues of each matrix (%(default)s)")
    return parser


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Analyse and write.

    Raises:
        UsageError: an option that does not fit.
    """
    ts = numbers(args.levels, "--levels")
    dtype = torch.float32 if args.float32 else torch.float64
    about = subject(args.model, args.config, overrides, args.records, dtype)
    args.out.mkdir(parents=True, exist_ok=True)
    points, pairs, responses = [], [], []
    for point in about.points(ts):
        figures, pair, answer = analysed(point, args.count)
        points.append(figures)
        pairs.append(pair)
        responses.append(answer)
        print(f"t={point.level.t:.0f} record {point.record}: {figures['eigenvalues']['J'][0]:.3f}", flush=True)
        facts = {
            **origin(),
            "model": args.model,
            "formed": math.prod(point.x.shape) <= FULL,
            "dtype": str(dtype).removeprefix("torch."),
        }
        write_json(args.out / "jacobian.json", {**facts, "points": points})
    draw_symmetry(points, pairs, args.out / "symmetry.png")
    draw_eigenvalues(points, args.out / "eigenvalues.png")
    draw_bars(points, args.out / "cosines.png")
    firsts = [i for i, one in enumerate(points) if one["record"] == 0]
    labels = [f"t={points[i]['t']:.0f}" for i in firsts]
    draw_pictures(
        ["|J e|, e one entry", "|J^T e|, e one entry"],
        labels,
        [list(responses[i]) for i in firsts],
        args.out / "responses.png",
    )
    columns, rows = squares(about, ts)
    draw_pictures(columns, labels, [[(p[0] + 1) / 2 for p in row] for row in rows], args.out / "square.png")


if __name__ == "__main__":
    configured(parser(), run)
