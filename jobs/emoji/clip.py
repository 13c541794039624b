"""Stage clip: a small CLIP on pictures and prompts; its text tower conditions the UNet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextModel, CLIPTokenizer

from emoji.dataset import Dataset
from emoji.grid import save_grid
from emoji.pool import cached_pool, to_bytes, to_float
from emoji.text import LENGTH, make_tokenizer

BATCH = 128  # on each rank
WIDTH = 128


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """The untrained model: a text tower of 3 blocks, an image tower of 4 on patches of 8 pixels."""
    tower = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_attention_heads": 4,
        "projection_dim": 64,
    }
    text = {
        **tower,
        "vocab_size": len(tokenizer),
        "num_hidden_layers": 3,
        "max_position_embeddings": LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**tower, "num_hidden_layers": 4, "image_size": 64, "patch_size": 8}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))


def image_processor() -> CLIPImageProcessor:
    """What makes pixel values of PIL pictures: 64 px, [-1, 1]."""
    return CLIPImageProcessor(
        size={"shortest_edge": 64},
        crop_size={"height": 64, "width": 64},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def tokenize(tokenizer: CLIPTokenizer, prompts: list[str]) -> Tensor:
    """Token ids, (n, 24), padded as Stable Diffusion's pipeline pads."""
    options = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
    ids: Tensor = tokenizer(prompts, **options).input_ids
    return ids


@dataclass
class Loss:
    """Contrastive loss on a batch of distinct glyphs, one rendering of each."""

    clip: CLIPModel
    pool: Tensor
    ids: Tensor

    def __call__(self, generator: torch.Generator) -> Losses:
        """The loss of one batch."""
        rounds, count = self.pool.shape[:2]
        glyphs = torch.randperm(count, generator=generator)[:BATCH]
        which = torch.randint(rounds, (len(glyphs),), generator=generator)
        output = self.clip(input_ids=self.ids[glyphs], pixel_values=to_float(self.pool[which, glyphs]))
        logits = output.logits_per_image.float()
        target = torch.arange(len(glyphs), device=logits.device)
        right = (logits.argmax(1) == target).float().mean()
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return {"loss": loss, "_right": right}


def train_clip(dataset: Dataset, plan: Plan) -> State:
    """Trains; writes `folder/tokenizer`, `folder/clip`, its text tower, and best matches to `clip.png`."""
    torch.manual_seed(plan.seed)
    prompts = [dataset.entries[i].prompt for i in dataset.indices("train").tolist()]
    tokenizer = make_tokenizer(prompts, plan.folder / "tokenizer")
    clip = (CLIPModel.from_pretrained(plan.start / "clip") if plan.start else new_clip(tokenizer)).to(plan.device)
    pool = cached_pool(dataset, plan.folder, plan.seed, plan.device)
    loss = Loss(clip, pool, tokenize(tokenizer, prompts).to(plan.device))
    average, state = fit(clip, loss, Setting("clip", plan, Rate(1e-3), average=0.99))
    average.save_pretrained(plan.folder / "clip")
    CLIPTextModel.from_pretrained(plan.folder / "clip").save_pretrained(plan.folder / "text_encoder")
    save_grid(best_matches(average, dataset, tokenizer, plan.seed), plan.folder / "clip.png", columns=9)
    return state


@torch.no_grad()
def features(clip: CLIPModel, pictures: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Unit features of pictures in [-1, 1] and of token ids, (n, 64) each; pictures pass through 8 bits."""
    pixels = to_float(to_bytes(pictures))
    images = [clip(input_ids=ids[:1], pixel_values=part).image_embeds for part in torch.split(pixels, 256)]
    texts = [clip(input_ids=part, pixel_values=pixels[:1]).text_embeds for part in torch.split(ids, 256)]
    return torch.cat(images), torch.cat(texts)


def best_matches(clip: CLIPModel, dataset: Dataset, tokenizer: CLIPTokenizer, seed: int) -> Tensor:
    """Rows of a new rendering of a training glyph and the 8 pictures nearest to its prompt, of 512."""
    device = clip.device
    generator = torch.Generator().manual_seed(seed + 2)
    glyphs = dataset.indices("train")
    glyphs = glyphs[torch.randperm(len(glyphs), generator=generator)[:512]]
    pictures = dataset.renderer(str(device))(glyphs, generator)
    ids = tokenize(tokenizer, [dataset.entries[i].prompt for i in glyphs[:10].tolist()]).to(device)
    images, texts = features(clip, pictures, ids)
    nearest = (texts @ images.T).topk(8).indices
    return torch.cat([pictures[:10, None], pictures[nearest]], 1).flatten(0, 1)
