"""A signal only sets a flag; the grace decides where the run stops."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from fcs.core.errors import Interrupted
from fcs.engine import signals
from fcs.engine.signals import SIGNALS, Stop


@pytest.mark.parametrize("number", SIGNALS)
def test_between_batches_at_once_within_a_batch_after_the_grace(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Stop(grace=60) as stop:
        stop.check()
        os.kill(os.getpid(), number)
        stop.watch()
        with pytest.raises(Interrupted, match=number.name):
            stop.check()
    assert signal.getsignal(number) is before


def test_no_grace_cuts_the_batch() -> None:
    with Stop(grace=1e-9) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"):
            stop.watch()


def test_signals_that_the_parent_blocked_come_through() -> None:
    mask, handler = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS), signal.getsignal(signal.SIGINT)
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # to this thread: others have nothing blocked
        with Stop(grace=60) as stop:
            assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS)
            with pytest.raises(Interrupted, match="SIGINT"):  # it came before
                stop.check()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # forgets one that is still blocked
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)


def test_asked_twice_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 0.0, 1.0, 1.0, 3.0, 3.0])  # grace, together; again; watch; and once more
    with Stop(grace=60) as stop:
        monkeypatch.setattr(signals.time, "monotonic", lambda: next(seconds))
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # the same, by another way
        stop.watch()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted, match="SIGINT"):
            stop.watch()
