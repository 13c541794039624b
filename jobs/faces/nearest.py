"""A judge that was not trained: which class's render a picture is nearest to, all else being known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from faces.attributes import ATTRIBUTES
from faces.classifier import shares
from faces.draws import Face, Split, draw_face, generator
from faces.render import render
from faces.vae import reconstruct


def nearest(face: Face, picture: NDArray[np.float64]) -> list[int]:
    """For each attribute the class whose render, with the face's other classes, is nearest to ``(64, 64, 3)``."""
    found = []
    for i, attribute in enumerate(ATTRIBUTES):
        labels = [(*face.labels[:i], c, *face.labels[i + 1 :]) for c in range(len(attribute.choices))]
        renders = np.stack([render(replace(face, labels=row)) for row in labels]) / 255
        found.append(int(np.square(renders - picture).sum((1, 2, 3)).argmin()))
    return found


def nearest_through(vae: AutoencoderKL, split: Split, seed: int, count: int) -> dict[str, float]:
    """The share of right classes of a split's first faces through the VAE, by attribute."""
    faces = [draw_face(split, generator(seed, split, i)) for i in range(count)]
    x = torch.from_numpy(np.stack([render(face) for face in faces])).float().div(127.5).sub(1).permute(0, 3, 1, 2)
    pictures = reconstruct(vae, x).add(1).div(2).permute(0, 2, 3, 1).numpy()
    found = [nearest(face, picture) for face, picture in zip(faces, pictures, strict=True)]
    return shares(np.array(found) == np.array([face.labels for face in faces]))
