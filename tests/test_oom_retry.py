"""Batches that do not fit in memory: halved, joined as if they had, and alone they fail by name."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from helpers.batches import half_masked, one_step
from torch import Tensor

from fcs.core.memory import is_out_of_memory
from fcs.core.records import Batch, Result
from fcs.engine.oom_retry import OomRetry
from fcs.models import Model
from fcs.tasks import Inpaint


class Scarce(Inpaint):
    """Inpainting on a machine on which only batches of up to ``most`` slots fit, and never a white picture."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most, self.error = most, error
        self.sizes: list[int] = []

    def pictures(self, x0: Tensor, batch: Batch, model: Model) -> Tensor:
        self.sizes.append(len(batch.records))
        if len(batch.records) > self.most or (batch.images == 255).flatten(1).all(1).any():
            raise self.error
        return super().pictures(x0, batch, model)


ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
    "python": MemoryError(),
}


@pytest.fixture
def whole(digits: Model) -> Callable[[Batch], Result]:
    return one_step(digits, Inpaint())


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_every_word_for_it_halves_a_batch(error: Exception) -> None:
    sizes = []

    def scarce(batch: Batch, watch: Callable[[], None]) -> Result:
        sizes.append(len(batch.records))
        if len(batch.records) > 1:
            raise error
        return Result(batch.images, (0.5,), (1,), (True,))

    assert OomRetry(scarce)(half_masked(4)).calls == (1,) * 4  # type: ignore[arg-type]
    assert sizes == [4, 2, 1, 1, 1, 1]


def test_halved_until_it_fits(
    digits: Model, whole: Callable[[Batch], Result], caplog: pytest.LogCaptureFixture
) -> None:
    task, given = Scarce(2, ERRORS["cuda"]), half_masked(8, without=(3,))
    fitting = OomRetry(one_step(digits, task))
    with caplog.at_level(logging.WARNING, "fcs"):
        result = fitting(given)
    assert task.sizes == [8, 4, 2, 2, 2, 2]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "a batch of 8 does not fit in memory",
        "a batch of 4 does not fit in memory",
    ]
    pairs = [whole(given.part(first, first + 2)) for first in (0, 2, 4, 6)]
    assert torch.equal(result.images, torch.cat([pair.images for pair in pairs]))
    for name in ("residuals", "calls", "finite"):
        assert getattr(result, name) == tuple(one for pair in pairs for one in getattr(pair, name)), name
    assert result.errors == {}
    task.sizes.clear()
    fitting(given)
    assert task.sizes == [2, 2, 2, 2]  # what did not fit is not tried again


def test_a_record_that_does_not_fit_alone_fails_by_name(digits: Model) -> None:
    result = OomRetry(one_step(digits, Scarce(8, ERRORS["cuda"])))(half_masked(4, white=2))
    assert list(result.errors) == [2]
    assert result.errors[2].startswith("out_of_memory: CUDA out of memory")
    assert len(result.images) == len(result.residuals) == 4


@pytest.mark.parametrize("status", ["CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"])
def test_a_library_whose_status_is_all_that_it_says(status: str) -> None:
    assert is_out_of_memory(RuntimeError(f"CUDA error: {status} when calling `cublasCreate(handle)`"))


def test_other_errors_are_not_taken_for_it(digits: Model) -> None:
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        OomRetry(one_step(digits, Scarce(0, RuntimeError("shape mismatch"))))(half_masked(2))
