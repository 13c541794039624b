"""How pictures in a style score, where there is no truth: the distance to the style, and to the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fcs.models.loading import EMBEDDED
from fcs.pictures import to_float
from fcs.records import Record, collate
from fcs.tasks import Style
from judging.truth import Truth

BATCH = 64


@dataclass(frozen=True)
class Written:
    """Pictures as they were written in place of a model's: all that the task asks of one."""

    picture_shape: tuple[int, ...]

    def decode(self, pictures: Tensor) -> Tensor:
        """Nothing is to be done."""
        return pictures


@torch.no_grad()
def style_scores(task: Style, pictures: Tensor, truth: Truth) -> tuple[dict[str, float | None], str]:
    """Means over uint8 ``pictures`` ``(N, 3, H, W)``, and what is missing.

    ``style`` is ``|G_ref - G|_F`` of the task's own features, as the paper's tables have it (smaller is nearer to the
    style); ``clip`` is 100 times the cosine of picture and prompt in the same CLIP (larger is nearer to the prompt).

    Args:
        task: its features and style pictures.
        pictures: what was made.
        truth: the records, their pictures being the styles.
    """
    shape = (pictures.shape[1], pictures.shape[2], pictures.shape[3])
    apart, images = [], []
    for first in range(0, len(pictures), BATCH):
        part = slice(first, first + BATCH)
        records = [Record(i, str(i), picture) for i, picture in enumerate(truth.pictures[part])]
        made = to_float(pictures[part])
        constraint = task.constraint(collate("", 0, records, shape, 0), Written(shape))  # type: ignore[arg-type]
        apart.append(constraint.loss(made))
        images.append(task.tower(made.device).embed(made))
    style = torch.cat(apart).mean().item()
    texts = embedded(clip_folder(task), truth.prompts)
    if texts is None:
        return {"style": style, "clip": None}, "no CLIP score without the CLIP's tokenizer"
    return {"style": style, "clip": 100 * (torch.cat(images) * texts).sum(1).mean().item()}, ""


def clip_folder(task: Style) -> Path:
    """Where the task's CLIP is."""
    inside = EMBEDDED / task.clip / "clip"
    return inside if inside.is_dir() else Path(task.clip)


def embedded(folder: Path, prompts: Sequence[str]) -> Tensor | None:
    """Embeddings of unit length ``(N, D)``; None where no tokenizer lies in the folder or beside it."""
    from transformers import CLIPModel, CLIPTokenizer

    places = [place for place in (folder, folder.parent / "tokenizer") if (place / "vocab.json").exists()]
    if not places:
        return None
    clip = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True).eval()
    tokenizer = CLIPTokenizer.from_pretrained(places[0])
    length = clip.config.text_config.max_position_embeddings
    options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    states = clip.text_model(tokenizer(list(prompts), **options).input_ids).pooler_output
    return F.normalize(clip.text_projection(states), dim=1)
