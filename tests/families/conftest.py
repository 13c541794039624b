"""The tiny pipelines and their models, built once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from families.builders import FAMILIES
from fcs.models.diffusers_pipeline import DiffusersPipeline

SIZE = (32, 32)


@pytest.fixture(params=list(FAMILIES), scope="session")
def pipe(request: pytest.FixtureRequest) -> Any:
    """A tiny pipeline of each family."""
    return built(request.param)


@cache
def built(name: str) -> Any:
    return FAMILIES[name]()


@pytest.fixture(scope="session")
def pipe_of() -> Callable[[str], Any]:
    """The tiny pipeline of one family."""
    return built


@pytest.fixture(scope="session")
def model(pipe: Any) -> DiffusersPipeline:
    """The same as a model, through the adaptor."""
    return adapted(pipe)


@cache
def adapted(pipe: Any) -> DiffusersPipeline:
    return DiffusersPipeline(pipe, SIZE)
