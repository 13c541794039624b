"""The paper's own tables (Graikos et al. 2025, slides): other data and another model, beside ours but not against them.

Stable Diffusion 1.4 or 1.5 at 512 pixels on 1000 pictures of ImageNet, styles of WikiArt; times on an RTX A5000.
"""

from __future__ import annotations

FIRST = ("method", "psnr", "lpips", "fid", "time")
STYLE = ("method", "style_score", "clip", "time")
ROWS: dict[str, list[tuple[str | float, ...]]] = {
    "inpaint-freeform": [
        ("P2L, captions", 21.99, 0.229, 32.82, "30 min"),
        ("LDPS", 21.54, 0.332, 46.72, "6 min"),
        ("PSLD", 20.92, 0.251, 40.57, "8 min"),
        ("Newton K=5", 21.73, 0.258, 19.39, "15 s"),
    ],
    "inpaint-box": [
        ("LDPS", 17.52, 0.42, 76.32, "6 min"),
        ("PSLD", 17.30, 0.38, 74.02, "8 min"),
        ("FreeDoM", 16.18, 0.42, 55.68, "1 min"),
        ("Newton K=5", 18.30, 0.30, 42.01, "15 s"),
        ("Newton K=2", 18.01, 0.39, 68.75, "7 s"),
        ("Newton K=5, lambda 1", 17.48, 0.32, 47.20, "15 s"),
        ("SD-Inpaint", 19.05, 0.28, 32.93, "4 s"),
    ],
    "superres8": [
        ("P2L, captions", 23.38, 0.386, 51.81, "30 min"),
        ("LDPS", 23.21, 0.475, 61.09, "6 min"),
        ("PSLD", 23.17, 0.471, 60.81, "8 min"),
        ("Newton K=10", 24.26, 0.455, 60.99, "1 min"),
        ("Newton K=10, captions", 24.95, 0.405, 44.74, "1 min"),
    ],
    "style": [
        ("DDIM", 761.0, 31.61, "9 s"),
        ("FreeDoM", 498.08, 30.14, "80 s"),
        ("MPGD", 441.00, 26.61, "50 s"),
        ("Newton K=5, guidance w=2", 368.37, 23.95, "45 s"),
        ("Newton K=5, guidance w=5", 310.96, 24.57, "45 s"),
        ("Newton K=5, OpenCLIP, guidance w=5", 434.45, 25.94, "45 s"),
    ],
}


def published(task: str) -> list[dict[str, str | float]]:
    """The paper's rows for a task, marked as such; none where it has no table."""
    names = STYLE if task == "style" else FIRST
    source = "published: SD 1.4 or 1.5, ImageNet"
    return [{**dict(zip(names, row, strict=True)), "note": source} for row in ROWS.get(task, [])]
