"""What jobs/loops.py makes of its logs, and the meter of CPU seconds that it rests on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from loops import at_work
from scale.cpu_meter import CpuMeter

# A child that has left its parent, as a daemon does, works half a second and says so; then it waits to be ended.
DAEMON = """
import subprocess, sys
work = "import sys, time\\nwhile time.process_time() < 0.5: pass\\nprint(flush=True)\\nsys.stdin.read()"
subprocess.Popen([sys.executable, "-c", work], start_new_session=True)
"""


def test_rates_are_medians_of_the_batches_after_the_first(tmp_path: Path) -> None:
    one = [(100, 9.0), (102, 9.5), (104, 10.0), (120, 14.0)]  # the last batch was disturbed
    two = [(101, 9.0), (103, 9.5), (105, 10.0)]
    rows = [f"{pid} {ended} {cpu} 4 15" for pid, found in ((1, one), (2, two)) for ended, cpu in found]
    (tmp_path / "log").write_text("\n".join(rows) + "\n")
    assert at_work(tmp_path) == {"pictures_per_second": 4.0, "cpu_per_picture": 0.125}


def test_the_meter_sees_what_no_longer_is_a_child() -> None:
    meter = CpuMeter()
    environment = {**os.environ, meter.variable: ""}
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with meter.looking():
            assert process.stdout.readline() == b"\n"
            meter.look()
        process.stdin.close()
    assert meter.seconds >= 0.48  # two clock ticks less
