"""The analysis of pipelines: their networks asked again with a gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from analysis.replayed import replayed
from analysis.spectra import Tangent

from fcs.core.errors import UsageError
from fcs.models.diffusers_pipeline import DiffusersPipeline

pytestmark = pytest.mark.families
PipeOf = Callable[[str], Any]


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux"])
def test_the_network_is_the_one_that_the_pipeline_asks(name: str, pipe_of: PipeOf) -> None:
    model = DiffusersPipeline(pipe_of(name), (32, 32))
    guided, level = model.guided(["red"]), model.schedule.levels(4)[1]
    f = replayed(model, guided, level, torch.float32)
    x, u, v = torch.randn(3, 1, *model.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(f(x), guided(x, level), rtol=1e-5, atol=1e-5)
    tangent = Tangent(f, x)
    forward, backward = (u * tangent.times(v)).sum(), (tangent.transposed(u) * v).sum()
    torch.testing.assert_close(forward, backward, rtol=1e-2, atol=1e-2 * u.norm().item())


@pytest.mark.parametrize("name", ["z_image", "pixart"])  # one turns the answer's sign, one drops a half of it
def test_a_pipeline_that_changes_the_answer_is_refused(name: str, pipe_of: PipeOf) -> None:
    model = DiffusersPipeline(pipe_of(name), (32, 32))
    with pytest.raises(UsageError, match="steps with the answer"):
        replayed(model, model.guided(["red"]), model.schedule.levels(4)[1], torch.float32)
