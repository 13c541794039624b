"""A SLURM cluster of virtual nodes on this machine, for tests: munged, slurmctld and a slurmd for each node.

Everything lies in one folder and belongs to whoever runs it; nothing of the system's own configuration is read.

    python tests/helpers/slurm_cluster.py COMMAND ...     runs a command against such a cluster and takes it down again
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
IN_JOB = re.compile("SLURM_JOB_ID=").match
REVOKED = 3.0  # seconds after which a new credential is surely younger than one that was revoked
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"}

# KillWait is what a real cluster has, less a little; cred_expire is how long a requeued job waits, and must be more.
# slurmd believes a node line with more CPUs than this machine has; GPUs are handed out and never opened.
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=30
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
KillWait=25
SlurmdTimeout=60
MessageTimeout=30
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
AccountingStorageType=accounting_storage/none
MinJobAge=3600
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdSpoolDir={folder}/spool.%n
NodeName={names} NodeHostname={host} NodeAddr={host} Port=[{first}-{last}] CPUs=4 RealMemory=16000 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=100 PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=INFINITE DefMemPerCPU=100 PriorityTier=10 PreemptMode=OFF
"""


def lacking() -> str | None:
    """Why no cluster can be had here; None where it can."""
    missing = [name for name in DAEMONS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"SLURM is not installed ({', '.join(missing)}): slurmctld slurmd slurm-client munge"
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        return f"the host name {socket.gethostname()} does not resolve"
    return None


class Cluster:
    """A running cluster; as a context manager it is taken down at the end.

    Args:
        nodes: how many, each with 4 CPUs and 2 GPUs that do not exist.
    """

    def __init__(self, nodes: int = 2) -> None:
        self._ended: dict[tuple[str, str], float] = {}  # when a task's run was first seen to have ended
        self.folder = Path(tempfile.mkdtemp(prefix="fcs-slurm-", dir="/tmp"))  # a socket's path must be short
        # Addresses as names: whoever takes them from the list of nodes finds that they resolve.
        self.nodes = [f"127.0.0.{11 + number}" for number in range(nodes)]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))},
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": PATH,
        }

    def __enter__(self) -> Cluster:
        try:
            self._configure()
            (self.folder / "munge.key").write_bytes(os.urandom(64))
            (self.folder / "munge.key").chmod(0o600)
            munge = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
            munge |= {"log-file": "munged.log", "seed-file": "munged.seed"}
            self._daemon("munged", "--force", *(f"--{name}={self.folder / file}" for name, file in munge.items()))
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start what does not run, and wait until all nodes are up."""
        if not self._pid("slurmctld"):
            self._daemon("slurmctld")
        for node in self.nodes:
            if not self._pid(f"slurmd.{node}"):
                self._daemon("slurmd", "-N", node)
        names = ",".join(self.nodes)
        until(lambda: self.run("sinfo", "-h", check=False) != "", "an answer of slurmctld")
        with suppress(subprocess.CalledProcessError):  # they need not be down
            self.run("scontrol", "update", f"NodeName={names}", "State=RESUME")
        usable = re.compile("idle|mixed|allocated|completing")
        until(
            lambda: all(map(usable.fullmatch, self.run("sinfo", "-hN", "-p", "main", "-o", "%T").split())),
            "all nodes",
        )

    def stop(self) -> None:
        """End all daemons and jobs, and remove the folder."""
        for name in ("slurmctld", *(f"slurmd.{node}" for node in self.nodes)):
            self.end(name)
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
            end(self._jobs(), number)
        self.end("munged")
        shutil.rmtree(self.folder, ignore_errors=True)

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a daemon."""
        pid = self._pid(name)
        if pid:
            end([pid], number)

    def power_cut(self, node: str) -> None:
        """Let a node vanish with all that runs on it, and let the controller know."""
        self.end(f"slurmd.{node}", signal.SIGKILL)
        end([pid for pid in running() if self._steps(pid, node)], signal.SIGKILL)  # first: they would tell
        end(self._jobs(node), signal.SIGKILL)
        self.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=cut")

    def run(self, *command: str, check: bool = True, cwd: Path | None = None, **environment: str) -> str:
        """What a command says on stdout. With ``check`` it must end with 0."""
        done = subprocess.run(
            command,
            env={**self.environment, **environment},
            cwd=cwd,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        return done.stdout.strip()

    def popen(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """A command that goes on; what it says, on stderr too, is in its stdout."""
        return subprocess.Popen(
            command,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def tasks(self, job: str) -> list[Mapping[str, str]]:
        """A job's, or of an array each task's, fields in ``scontrol show job``."""
        text = self.run("scontrol", "-o", "show", "job", job)
        return [dict(re.findall(r"(\S+?)=(.*?)(?= \w\S*=|$)", line)) for line in text.splitlines()]

    def states(self, job: str) -> list[str]:
        """The state of each task."""
        return [task["JobState"] for task in self.tasks(job)]

    def wait(self, job: str, seconds: float = 300.0) -> list[str]:
        """Wait until all tasks have ended; their states, sorted."""

        def over() -> bool:
            self.hurry(job)
            return set(self.states(job)) <= ENDED

        until(over, f"the end of job {job}", seconds)
        return sorted(self.states(job))

    def hurry(self, job: str) -> None:
        """Let tasks that were requeued, and have ended, start again before the credentials of their first run expire.

        Not within the seconds of their end, though: slurmd takes a new credential for one that it has just revoked
        where both are of one second, and the task fails without a word.
        """
        for task in self.tasks(job):
            if task["JobState"] == "PENDING" and task["Reason"] == "BeginTime":
                ended = self._ended.setdefault((task["JobId"], task["Restarts"]), time.monotonic())
                if time.monotonic() - ended < REVOKED:
                    continue
                self.run("scontrol", "update", f"JobId={task['JobId']}", "StartTime=now", check=False)

    def _configure(self) -> None:
        ports = free_ports(len(self.nodes) + 1)
        text = CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            user=self.run("id", "-un"),
            folder=self.folder,
            names=",".join(self.nodes),
            port=ports[0],
            first=ports[1],
            last=ports[-1],
        )
        (self.folder / "state").mkdir(mode=0o700)
        (self.folder / "slurm.conf").write_text(text)
        for number in range(2):
            (self.folder / f"gpu{number}").symlink_to("/dev/null")
        (self.folder / "gres.conf").write_text(f"AutoDetect=off\nName=gpu File={self.folder}/gpu[0-1]\n")

    def _daemon(self, *command: str) -> None:
        with (self.folder / "start.log").open("a") as log:
            done = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {(self.folder / 'start.log').read_text()[-800:]}")

    def _pid(self, name: str) -> int | None:
        """Of a daemon that runs."""
        with suppress(OSError, ValueError):
            pid = int((self.folder / f"{name}.pid").read_text())
            if alive(pid) and name.partition(".")[0] in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        return None

    def _jobs(self, node: str = "") -> list[int]:
        """Processes of jobs (on a node), by what is in their environment, and the slurmstepd above them."""
        here = f"SLURM_CONF={self.folder}/slurm.conf"
        own, found = os.getpid(), []
        for pid in running():
            variables = words(pid, "environ")
            job = here in variables and f"SLURMD_NODENAME={node}" in variables if node else here in variables
            if pid != own and ((job and any(map(IN_JOB, variables))) or self._steps(pid, node)):
                found.append(pid)
        return found

    def _steps(self, pid: int, node: str) -> bool:
        """Whether a process is a slurmstepd of ours: it has the log of its node open."""
        if "slurmstepd" not in " ".join(words(pid, "cmdline")):
            return False
        with suppress(OSError):
            files = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
            return any(file.startswith(f"{self.folder}/slurmd.{node}") for file in files)
        return False


def running() -> list[int]:
    """All processes of this machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def words(pid: int, file: str) -> list[str]:
    """Command line or environment of a process."""
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end(pids: list[int], number: signal.Signals) -> None:
    """Send a signal and wait a few seconds for what it should end."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    with suppress(TimeoutError):
        until(lambda: not any(map(alive, pids)), "an end", 10.0)


def until(happens: Callable[[], bool], what: str, seconds: float = 300.0) -> None:
    """Wait for something. Raises TimeoutError, which says for what."""
    limit = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > limit:
            raise TimeoutError(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """So many ports in a row that nobody listens on."""
    for first in range(25000, 32000, count):
        with suppress(OSError), sockets() as opened:
            for port in range(first, first + count):
                opened.append(socket.socket())
                opened[-1].bind(("", port))
            return list(range(first, first + count))
    raise RuntimeError("no free ports")


@contextmanager
def sockets() -> Iterator[list[socket.socket]]:
    """A list of sockets that are closed at the end."""
    opened: list[socket.socket] = []
    try:
        yield opened
    finally:
        for each in opened:
            each.close()


def main() -> int:
    """Run a command against a cluster."""
    reason = lacking()
    if reason or len(sys.argv) < 2:
        raise SystemExit(reason or __doc__)
    with Cluster() as cluster:
        print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}", file=sys.stderr)
        return subprocess.run(sys.argv[1:], env=cluster.environment).returncode


if __name__ == "__main__":
    sys.exit(main())
