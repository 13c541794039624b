"""Forked commands of the tests are what real ones are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import forked

# What a process sees of itself.
SEEN = """
import json, os, random, signal, sys
print(json.dumps({
    "parent": os.getppid(), "group": os.getpgid(0) == os.getpid(), "session": os.getsid(0) == os.getpid(),
    "folder": os.getcwd(), "arguments": sys.argv, "mine": os.environ.get("MINE"), "count": len(os.environ),
    "path": [place for place in sys.path if place.startswith(os.environ["TOP"])], "words": sys.orig_argv[1:],
    "fcs": [name for name in sys.modules if name.startswith("fcs")], "name": __name__,
    "signals": [str(signal.getsignal(number)).split(" at ")[0] for number in sorted(signal.valid_signals())],
    "handles": len(os.listdir("/proc/self/fd")) < 8,
}))
"""
RANDOM = """
import json, random, numpy, torch
print(json.dumps([random.random(), numpy.random.rand(), torch.rand(1).item()]))
"""


def seen(start: Callable[..., subprocess.Popen[str]], *words: str, **options: object) -> dict[str, object]:
    with start([sys.executable, *words], stdout=subprocess.PIPE, text=True, **options) as process:
        said, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(said)


@pytest.fixture
def ways(tmp_path: Path) -> list[list[str]]:
    """The program as a string, a file and a module, with an argument."""
    (tmp_path / "more").mkdir()
    (tmp_path / "file.py").write_text(SEEN)
    (tmp_path / "more" / "module.py").write_text(SEEN)
    return [["-c", SEEN, "x"], [f"{tmp_path}/file.py", "x"], ["-m", "module", "x"], ["-P", "-m", "module", "x"]]


def test_a_forked_command_sees_what_a_real_one_sees(ways: list[list[str]], tmp_path: Path) -> None:
    environment = {**os.environ, "MINE": "1", "TOP": str(tmp_path), "PYTHONPATH": f"{tmp_path}/more"}
    for words, options in zip(ways, ({}, {"process_group": 0}, {"start_new_session": True}, {}), strict=True):
        given = {"cwd": tmp_path, "env": environment, **options}
        real, made = (seen(start, *words, **given) for start in (forked.Started, forked.Popen))
        assert made == real
        assert made["parent"] == os.getpid()


def test_each_has_random_numbers_and_threads_of_its_own() -> None:
    first, second = (json.loads(forked.run([sys.executable, "-c", RANDOM]).stdout) for _ in range(2))
    assert all(one != other for one, other in zip(first, second, strict=True))
    ask = "import os, torch; print(torch.get_num_threads(), len(os.listdir('/proc/self/task')))"
    assert forked.run([sys.executable, "-c", ask]).stdout == "1 1\n"


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("import sys; print('a'); print('b', file=sys.stderr); sys.exit(7)", 7, ("a\n", "b\n")),
        ("import sys; sys.exit('c')", 1, ("", "c\n")),
        ("print(input()[::-1])", 0, ("cba\n", "")),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, ("", "")),
        ("import atexit; atexit.register(print, 'end'); import os; os.getpid()", 0, ("end\n", "")),
    ],
)
def test_streams_and_exit_codes(program: str, code: int, said: tuple[str, str]) -> None:
    pipe = subprocess.PIPE
    with forked.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.communicate("abc\n") == said
    assert process.returncode == code


def test_an_error_is_a_traceback_and_a_one() -> None:
    ended = forked.run([sys.executable, "-c", "raise ValueError(3)"])
    assert ended.returncode == 1
    assert ended.stderr.endswith('File "<string>", line 1, in <module>\nValueError: 3\n')


def test_signals_reach_it() -> None:
    program = "import time; print('here', flush=True); time.sleep(600)"
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL):
        with forked.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"here\n"
            assert process.poll() is None
            process.send_signal(number)
            assert process.wait() == -number


def test_what_a_command_starts_is_forked_too_and_is_its_child() -> None:
    inner = "import os, sys; print(os.getppid(), 'torch' in sys.modules)"
    outer = (
        f"import os, subprocess, sys\nprint(os.getpid())\nsys.stdout.flush()\n"
        f"for code in ({inner!r}, 'raise SystemExit(3)'):\n"
        f"    print(subprocess.run([sys.executable, '-c', code]).returncode, flush=True)"
    )
    own, parent, first, second = forked.run([sys.executable, "-c", outer]).stdout.splitlines()
    assert (parent, first, second) == (f"{own} True", "0", "3")


def test_other_variables_that_libraries_read_at_import_make_a_real_start() -> None:
    ask = [sys.executable, "-c", "import sys; print('torch' in sys.modules)"]
    for name in ("OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY", "HF_HOME"):
        assert forked.run(ask, env={**os.environ, name: "2"}).stdout == "False\n"
    assert forked.run(ask).stdout == "True\n"
    assert forked.run(["true"]).returncode == 0
