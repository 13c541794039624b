"""accelerate's split_between_processes: torchrun --standalone --nproc_per_node=2 --max-restarts=3 (this) IN OUT."""

import sys
from pathlib import Path

from accelerate import PartialState

import fcs
from scale.loops.inpainted import BATCH, inpaint, left

folder, out = map(Path, sys.argv[1:])
state = PartialState(cpu=True)
model = fcs.load("digits-16", device="cpu")
keys = left(folder, out)
state.wait_for_everyone()  # before the first result: all processes must see the same list
with state.split_between_processes(keys) as mine:
    for first in range(0, len(mine), BATCH):
        inpaint(model, folder, out, mine[first : first + BATCH])
state.destroy_process_group()
