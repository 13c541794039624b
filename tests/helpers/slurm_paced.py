"""Inpainting that waits before each step, so that a run lasts as long as a test needs, without computing."""

from __future__ import annotations

import os
import time
from pathlib import Path

from torch import Tensor

from fcs.core.constraints import Known
from fcs.core.records import Batch
from fcs.models import Model
from fcs.tasks.inpaint import Inpaint


class Paced(Inpaint):
    """Each error takes FCS_TEST_PACE seconds until the file FCS_TEST_GO exists; results are those of inpainting.

    The rank FCS_TEST_FAILS raises an error instead.
    """

    def constraint(self, batch: Batch, model: Model) -> Known:
        if os.environ.get("FCS_TEST_FAILS", "none") == os.environ.get("SLURM_PROCID"):
            raise RuntimeError("this rank fails")
        known = super().constraint(batch, model)
        known.error = paced(known.error)  # type: ignore[method-assign]
        return known


def paced(error):
    """The same function after a wait."""

    def late(x0: Tensor) -> Tensor:
        until = time.monotonic() + float(os.environ.get("FCS_TEST_PACE", "0"))
        while time.monotonic() < until and not Path(os.environ["FCS_TEST_GO"]).exists():
            time.sleep(0.02)
        return error(x0)

    return late
