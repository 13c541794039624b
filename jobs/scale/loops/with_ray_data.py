"""Ray Data on two actors: python with_ray_data.py IN OUT."""

import sys
from pathlib import Path
from typing import Any

import ray

import fcs
from scale.loops.inpainted import BATCH, inpaint, left

folder, out = map(Path, sys.argv[1:])


class Inpaint:
    """An actor with its model."""

    def __init__(self) -> None:
        self.model = fcs.load("digits-16", device="cpu")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The keys of a batch, when its pictures are written."""
        inpaint(self.model, folder, out, list(batch["key"]))
        return {"key": batch["key"]}


ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80 << 20)
rows = ray.data.from_items([{"key": key} for key in left(folder, out)])
rows.map_batches(Inpaint, batch_size=BATCH, compute=ray.data.ActorPoolStrategy(size=2)).materialize()
