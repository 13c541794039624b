"""TF32: one switch for the whole process, which no thread turns while another computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import fcs
from fcs.core.autocast import is_off, no_autocast
from fcs.core.denoiser import Denoiser
from fcs.core.tf32 import allow_tf32, no_tf32, rounded, tf32, tf32_in_parts, tf32_is_on
from fcs.models import Model

BACKENDS: Any = torch.backends
WAIT = 60  # seconds until a thread that never comes fails the test


@pytest.fixture(autouse=True)
def switches() -> Iterator[None]:
    """torch's switches, put back."""
    with tf32(False):
        yield


def precisions() -> tuple[str, ...]:
    operations = (BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.mkldnn.matmul)
    return tuple(operation.fp32_precision for operation in operations)


def older() -> tuple[bool, bool, str]:
    return BACKENDS.cuda.matmul.allow_tf32, BACKENDS.cudnn.allow_tf32, torch.get_float32_matmul_precision()


def test_it_stays_off_until_the_last_thread_leaves() -> None:
    # A enters, B enters, A leaves, B still computes: B's products must not be rounded, and at the end all is as before.
    allow_tf32(True)
    entered, left = threading.Event(), threading.Event()
    seen: list[bool] = []

    def second() -> None:
        with no_tf32():
            entered.set()
            assert left.wait(WAIT)
            seen.append(tf32_is_on())

    with no_tf32():
        thread = threading.Thread(target=second)
        thread.start()
        assert entered.wait(WAIT)
    left.set()
    thread.join(WAIT)
    assert seen == [False]
    assert tf32_is_on()


def test_a_part_that_rounds_waits_for_what_needs_every_digit() -> None:
    """And the other way round; in between both are as they asked."""
    inside, go_on = threading.Event(), threading.Event()
    order: list[tuple[str, bool]] = []

    def judge() -> None:
        with no_tf32():
            inside.set()
            assert go_on.wait(WAIT)
            order.append(("judge", tf32_is_on()))

    thread = threading.Thread(target=judge)
    thread.start()
    assert inside.wait(WAIT)
    threading.Timer(0.2, go_on.set).start()
    with rounded():
        order.append(("decoder", tf32_is_on()))
        again = threading.Thread(target=judge)
        again.start()
        again.join(0.2)
        assert again.is_alive()
    again.join(WAIT)
    thread.join(WAIT)
    assert order == [("judge", False), ("decoder", True), ("judge", False)]
    assert not tf32_is_on()


def test_calls_in_two_threads_meet_where_both_round() -> None:
    """Neither waits for the end of the other's sampling, which would be for ever."""
    barrier, seen = threading.Barrier(2), []

    def call() -> None:
        with tf32_in_parts():
            barrier.wait(WAIT)
            assert not tf32_is_on()
            with rounded():
                seen.append(tf32_is_on())

    threads = [threading.Thread(target=call) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(WAIT)
    assert seen == [True, True]
    assert not tf32_is_on()


def test_every_digit_is_every_digit_whatever_a_part_asks() -> None:
    allow_tf32(True)
    with no_tf32(), rounded():
        assert not tf32_is_on()
    with tf32_in_parts():
        assert not tf32_is_on()
        with rounded():
            assert tf32_is_on()
            with no_tf32():
                assert not tf32_is_on()
            assert tf32_is_on()
        assert not tf32_is_on()
    assert tf32_is_on()


def test_autocast_is_off_in_one_thread_only() -> None:
    seen: list[bool] = []
    with no_autocast():
        thread = threading.Thread(target=lambda: seen.append(is_off()))
        thread.start()
        thread.join(WAIT)
        assert is_off()
    assert seen == [False]
    assert not is_off()


@pytest.mark.parametrize("on", [False, True])
def test_both_generations_of_switches_agree(on: bool) -> None:
    allow_tf32(on)
    assert tf32_is_on() is on
    assert older() == (on, on, "high" if on else "highest")
    assert precisions()[:3] == ("tf32" if on else "ieee",) * 3


def matmul_medium() -> None:
    torch.set_float32_matmul_precision("medium")


def newer_matmul() -> None:
    BACKENDS.cuda.matmul.fp32_precision = "tf32"  # the older switch cannot be read any more


def newer_convolutions() -> None:
    BACKENDS.cudnn.conv.fp32_precision = BACKENDS.cudnn.rnn.fp32_precision = "tf32"


def all_older() -> None:
    BACKENDS.cuda.matmul.allow_tf32 = BACKENDS.cudnn.allow_tf32 = True


HOSTS = [matmul_medium, newer_matmul, newer_convolutions, all_older]


@pytest.mark.parametrize("host", HOSTS)
def test_python_calls_leave_the_callers_switches(
    host: Callable[[], None], digits: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    host()
    before, seen = precisions(), []
    forward = Denoiser.forward

    def noting(*given: Any) -> Any:
        seen.append(precisions()[:3])
        return forward(*given)

    monkeypatch.setattr(Denoiser, "forward", noting)
    fcs.inpaint(digits, np.zeros((16, 16), np.uint8), np.ones((16, 16), bool), steps=1)
    assert set(seen) == {("ieee",) * 3}
    assert precisions() == before


@pytest.mark.parametrize("host", [matmul_medium, all_older])
def test_older_switches_come_back_too(host: Callable[[], None]) -> None:
    host()
    before = older()
    with no_tf32():
        assert older() == (False, False, "highest")
    assert older() == before
