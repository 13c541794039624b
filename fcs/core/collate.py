"""Records laid into a batch, each with the seed that fixes its noise."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from fcs.core.records import Batch, Record


def record_seed(run_seed: int, shard: str, key: str) -> int:
    """The seed that fixes a record's noise: 63 bits of SHA-256 over run seed, shard's file name and key.

    It depends on nothing else, so a record gives the same result in any batch, process or order.
    """
    shard_name = shard.rsplit("/", 1)[-1]
    text = "\0".join((str(run_seed), shard_name, key))
    # A failed record may have a name that is no text.
    return int.from_bytes(hashlib.sha256(text.encode(errors="backslashreplace")).digest()[:8], "big") >> 1


def crop_seed(seed: int, crop: int) -> int:
    """The seed of one of a record's crops: the first has the record's own, the others 63 bits of SHA-256."""
    if not crop:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}\0{crop}".encode()).digest()[:8], "big") >> 1


def collate(
    shard: str,
    number: int,
    records: Sequence[Record | None],
    shape: tuple[int, int, int],
    run_seed: int,
    prompt: str = "",
    members: dict[int, int] | None = None,
) -> Batch:
    """Lay records into a batch of ``len(records)`` slots.

    Args:
        shape: ``(C, H, W)`` of every picture.
        prompt: text for records that have none.
        members: as in ``Batch``.
    """
    channels, height, width = shape
    images = torch.zeros(len(records), channels, height, width, dtype=torch.uint8)
    masks = torch.full((len(records), 1, height, width), 255, dtype=torch.uint8)
    prompts, seeds = [""] * len(records), [0] * len(records)
    for slot, record in enumerate(records):
        if record is None or record.key is None:
            continue
        seed = record_seed(run_seed, shard, record.key) if record.seed is None else record.seed
        seeds[slot] = crop_seed(seed, record.crop)
        if record.native is not None and not record.native.crops:
            masks[slot] = 0
        if record.image is None:
            continue
        images[slot] = record.image
        if record.mask is not None:
            masks[slot] = record.mask
        prompts[slot] = prompt if record.prompt is None else record.prompt
    return Batch(shard, number, tuple(records), images, masks, tuple(prompts), tuple(seeds), members or {})
