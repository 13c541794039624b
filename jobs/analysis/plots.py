"""Plots of the analysis, each with its axes named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from torch import Tensor

mpl.use("agg")
PARTS = {"J": "J", "symmetric": "(J + J^T)/2", "skew": "(J - J^T)/2"}


def draw_symmetry(points: list[dict[str, Any]], mirrored: list[tuple[Tensor, Tensor]], path: Path) -> None:
    """Entries against their mirror images, a panel a level; on the line J is symmetric."""
    levels = list(dict.fromkeys(one["t"] for one in points))
    figure, axes = plt.subplots(1, len(levels), figsize=(3.5 * len(levels), 3.5), squeeze=False)
    for axis, t in zip(axes[0], levels, strict=True):
        chosen = [pair for one, pair in zip(points, mirrored, strict=True) if one["t"] == t]
        shares = [one["asymmetry"] for one in points if one["t"] == t]
        for first, second in chosen:
            axis.plot(first, second, ".", markersize=2)
        ends = max(part.abs().max().item() for pair in chosen for part in pair)
        axis.plot([-ends, ends], [-ends, ends], "k-", linewidth=0.5)
        axis.set_title(f"t={t:.0f}, |J - J^T| / |J + J^T| = {np.mean(shares):.2f}", fontsize="small")
        axis.set_xlabel("J_ij, or <u_i, J u_j>")
        axis.set_aspect("equal")
    axes[0][0].set_ylabel("J_ji, or <u_j, J u_i>")
    save(figure, path)


def draw_eigenvalues(points: list[dict[str, Any]], path: Path) -> None:
    """The largest absolute eigenvalue of J and its parts against t: means over records, with the extremes."""
    figure, axis = plt.subplots(figsize=(5, 3.5))
    levels = list(dict.fromkeys(one["t"] for one in points))
    for part, label in PARTS.items():
        found = [[one["eigenvalues"][part][0] for one in points if one["t"] == t] for t in levels]
        means = np.array([np.mean(values) for values in found])
        reach = [means - [min(values) for values in found], [max(values) for values in found] - means]
        axis.errorbar(levels, means, np.clip(reach, 0, None), marker="o", capsize=3, label=label)
    axis.set_xlabel("t")
    axis.set_ylabel("largest |eigenvalue|: mean, least, most")
    axis.set_ylim(bottom=0)
    axis.legend()
    save(figure, path)


def draw_bars(points: list[dict[str, Any]], path: Path) -> None:
    """Mean cosines between directions, a group a level."""
    levels, pairs = list(dict.fromkeys(one["t"] for one in points)), list(points[0]["cosines"])
    figure, axis = plt.subplots(figsize=(4 + 2 * len(levels), 4))
    width = 0.9 / len(pairs)
    for i, pair in enumerate(pairs):
        means = [np.mean([one["cosines"][pair] for one in points if one["t"] == t]) for t in levels]
        axis.bar(np.arange(len(levels)) + i * width, means, width, label=pair, color=mpl.color_sequences["tab20"][i])
    axis.set_xticks(np.arange(len(levels)) + 0.45, [f"t={t:.0f}" for t in levels])
    axis.set_ylabel("cosine, mean over records")
    axis.axhline(0, color="black", linewidth=0.5)
    axis.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def draw_pictures(columns: list[str], labels: list[str], rows: list[list[Tensor]], path: Path) -> None:
    """Rows of pictures, ``(h, w)`` scaled to their own range each or ``(C, h, w)`` in [0, 1], with their names."""
    figure, axes = plt.subplots(len(rows), len(columns), figsize=(2 * len(columns), 2 * len(rows)), squeeze=False)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            array = picture.cpu().numpy()
            axes[y][x].imshow(array if array.ndim == 2 else np.moveaxis(np.repeat(array, 4 - len(array), 0)[:3], 0, 2))
            axes[y][x].set_xticks([])
            axes[y][x].set_yticks([])
        axes[y][0].set_ylabel(labels[y])
    for x, name in enumerate(columns):
        axes[0][x].set_title(name, fontsize="small")
    save(figure, path)


def draw_curves(panels: dict[str, dict[str, list[float]]], path: Path, columns: int) -> None:
    """Error left after each inner step, relative to the first, a panel a level and K, ``columns`` side by side."""
    down = -(-len(panels) // columns)
    size = (3.5 * columns, 2.6 * down)
    figure, axes = plt.subplots(down, columns, figsize=size, sharey=True, squeeze=False)
    for axis, (name, curves) in zip(axes.flat, panels.items(), strict=True):
        for rule, curve in curves.items():
            axis.plot(range(len(curve)), curve, marker=".", label=rule)
        axis.set_title(name, fontsize="small")
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axis in axes[-1]:
        axis.set_xlabel("inner step k")
    for axis in axes[:, 0]:
        axis.set_ylabel("|e_k| / |e_0|")
    axes[0][0].legend(fontsize="x-small")
    save(figure, path)


def draw_rounding(rows: list[dict[str, Any]], path: Path) -> None:
    """Rounding cosine against t, a line a length, and the whole cosine of ``auto``, a line an arithmetic."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.5))
    first = [one for one in rows if one["moves"] == 0]
    plain = [one for one in first if one["arithmetic"] == one["dtype"] and one["difference"] == "forward"]
    for axis, chosen, names, figure_of in (
        (left, plain, ("way",), "rounding"),
        (right, [one for one in first if isinstance(one["way"], str)], ("arithmetic", "difference"), "whole"),
    ):
        for key in dict.fromkeys(tuple(str(one[name]) for name in names) for one in chosen):
            own = [one for one in chosen if tuple(str(one[name]) for name in names) == key]
            axis.plot(
                [one["t"] for one in own], [one[figure_of]["mean"] for one in own], marker=".", label=", ".join(key)
            )
        axis.set_xlabel("t")
        axis.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    left.set_ylabel("cosine")
    left.set_title("16 bits to float64, same difference, by length", fontsize="small")
    right.set_title("auto in 16 bits to the true J e", fontsize="small")
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure and let go of it."""
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
