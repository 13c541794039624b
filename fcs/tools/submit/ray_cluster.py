"""The cluster of Ray that a run is handed to: one that is there, or one that is started on this machine."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from typing import Any

from fcs.core.errors import StorageError, UsageError, first_line
from fcs.tools.submit.submission import Submission

NAMESPACE = "fcs"  # of detached runs
LOCAL = "local"
STORE = 80 << 20  # bytes of shared memory for results, which are exit codes; Ray's least is 75 MiB
ANSWERS = 30.0  # seconds that a cluster may take to accept a connection, and to greet
# Of HTTP/2 (RFC 9113, 3.4), which gRPC speaks: a client's first words, with empty settings; a server answers with its
# own settings, a frame of type 4.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
FRAME, KIND, SETTINGS_FRAME = 9, 3, 4  # bytes of a frame's head, the one that says its type, and that type
# Of Ray, where the user has set nothing.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # a cluster that is started here would send statistics to Ray's makers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns; workers without GPUs are shown none anyway
    "RAY_worker_niceness": "0",  # 15, as of a helper; what these workers do is all that the cluster is for
    "RAY_agent_register_timeout_ms": "300000",  # a cluster starts on a busy machine too
    "RAY_gcs_server_port_wait_time_s": "300",
}


def connect(address: str, submission: Submission) -> None:
    """Join the cluster, or start one.

    Raises:
        UsageError: there is none at this address; what a worker asks for is more than this machine has.
        StorageError: it does not start here.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    own: dict[str, Any] = {"logging_level": logging.WARNING}
    if address == LOCAL:  # whose warnings are of ways to reach it that nobody uses
        own = {"logging_level": logging.ERROR, "include_dashboard": False, "object_store_memory": STORE}
    else:
        check_answers(address)
    try:
        ray.init(address=address, namespace=NAMESPACE, **own)
    except Exception as error:  # a bare one where its processes do not start in time
        if address == LOCAL:
            raise StorageError(f"Ray does not start on this machine: {first_line(error)}") from error
        token = "with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN set here where it asks for a token"
        expected = f"a running cluster of Ray, {token} ({first_line(error)})"
        raise UsageError.of("--address", address, expected) from error
    if address == LOCAL:
        _check_fits(submission, ray.cluster_resources())


def check_answers(address: str) -> None:
    """Ray itself would try for minutes.

    Raises:
        UsageError: nobody listens at this host and port, or somebody else than Ray: its dashboard, say.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():  # a word of Ray's, such as auto
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWERS) as peer:
            greets = os.environ.get("RAY_USE_TLS", "0") != "0" or _greets(peer)
    except (OSError, OverflowError) as error:
        raise UsageError.of("--address", address, f"a running cluster of Ray ({error})") from error
    if not greets:
        raise UsageError.of("--address", address, "a running cluster of Ray; what listens there does not speak gRPC")


def _greets(peer: socket.socket) -> bool:
    """Whether it answers as a server of gRPC."""
    peer.sendall(GREETING)
    head = b""
    while len(head) < FRAME and (more := peer.recv(FRAME - len(head))):
        head += more
    return len(head) == FRAME and head[KIND] == SETTINGS_FRAME


def _check_fits(submission: Submission, found: Mapping[str, float]) -> None:
    """A task that never fits would wait for ever, without a word; on a cluster, more nodes may come."""
    for option, asked, name in (("--gpus", submission.gpus, "GPU"), ("--cpus", submission.cpus, "CPU")):
        here = int(found.get(name, 0))
        if asked > here:
            raise UsageError.of(
                option, asked, f"at most {here}, the {name}s of this machine; --address names a cluster"
            )
