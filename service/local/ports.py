"""Free loopback ports."""

import random
import socket
from contextlib import ExitStack

from service.local.errors import LocalStackError

LOOPBACK = "127.0.0.1"
# Below the ephemeral ports of Linux (32768+) and macOS (49152+), so that between our check and the server's
# bind no outgoing connection or `bind(0)` of another program can take a port chosen here.
LOWEST, HIGHEST = 12_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now, ignoring connections in TIME_WAIT."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int, *, partner: int = 0) -> list[int]:
    """`count` random free loopback ports; with `partner`, each `port + partner` is free as well.

    All ports and partners are distinct, as they are bound simultaneously during the search.
    """
    candidates = range(LOWEST, HIGHEST - partner)
    ports: list[int] = []
    with ExitStack() as sockets:
        for port in random.SystemRandom().sample(candidates, k=len(candidates)):
            if len(ports) == count:
                break
            try:
                for number in {port, port + partner}:
                    sockets.enter_context(socket.socket()).bind((LOOPBACK, number))
            except OSError:
                continue
            ports.append(port)
    if len(ports) < count:
        raise LocalStackError(
            f"Needed {count} free loopback ports from {LOWEST} to {HIGHEST}, found only {len(ports)}"
        )
    return ports
