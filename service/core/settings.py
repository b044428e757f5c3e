"""Every setting of the gateway and the worker: environment variables with the prefix OFLOW_."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.core.sequences.sequence import Limits

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
MIB = 1024**2


class Settings(BaseSettings):
    """Read once at start; a value that is missing, mistyped or unsafe stops the process with a message."""

    model_config = SettingsConfigDict(env_prefix="OFLOW_", extra="ignore", frozen=True)

    # The gateway
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    auth: Literal["keys", "open"] = (
        "keys"  # open: no keys, everyone who can connect is one and the same caller
    )
    trusted_network: bool = False  # something in front of us keeps strangers out
    default_model: str = "bodies"
    max_connections: Annotated[int, Field(gt=0)] = 512  # more at once are turned away
    header_seconds: Annotated[float, Field(gt=0)] = 10  # for the headers of a request to arrive
    stall_seconds: Annotated[float, Field(gt=0)] = 30  # without a byte of a body, or of an answer taken
    min_rate: Annotated[int, Field(gt=0)] = 4096  # bytes a second; slower bodies and takers are given up
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"

    # Redis: job records, and the queue unless broker_url names another broker
    redis_url: SecretStr
    broker_url: SecretStr | None = None

    # The object store
    s3_endpoint_url: str | None = None  # None: AWS
    s3_public_endpoint_url: str | None = None  # the address that clients reach, if another
    s3_access_key_id: str | None = None  # None: boto3's own chain (instance role, profile)
    s3_secret_access_key: SecretStr | None = None
    s3_bucket: str = "oflow"
    s3_region: str = "us-east-1"
    s3_path_style: bool = False
    download_seconds: Annotated[int, Field(ge=10, le=604_800)] = 3600  # life of a presigned URL

    # What a caller may send, and how long we keep it
    max_upload_bytes: Annotated[int, Field(gt=0)] = 256 * MIB
    max_frames: Annotated[int, Field(ge=2)] = 1000
    max_points: Annotated[int, Field(gt=0)] = 20_000_000  # frames × points
    retention_seconds: Annotated[int, Field(ge=60)] = 24 * 3600
    upload_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3600  # life of an upload past the gateway
    max_queued: Annotated[int, Field(gt=0)] = 1000  # jobs that wait for one model
    rate_limit: Annotated[int, Field(gt=0)] = 600  # requests a minute of one key
    open_uploads: Annotated[int, Field(gt=0)] = 100  # of one key, of max_upload_bytes each
    held_answers: Annotated[int, Field(gt=0)] = 200  # of one key: events followed, ends of jobs waited for
    open_jobs: Annotated[int, Field(gt=0)] = 100  # jobs of one key that have not ended

    # Webhooks
    webhook_secret: SecretStr | None = None  # what they are signed with comes from this; None: no webhooks
    webhook_loopback: bool = False  # for tests: plain http to this machine, too

    # The worker
    model: str = "bodies"  # a name under configs/, or a path to a YAML file
    checkpoint: str | None = None  # None: the one that the config names
    checkpoint_sha256: Annotated[str | None, Field(pattern="^[0-9a-fA-F]{64}$")] = None  # no other is loaded
    device: str = "auto"
    job_deadline_seconds: Annotated[int, Field(ge=10)] = 900
    max_attempts: Annotated[int, Field(ge=1)] = 3
    visibility_timeout_seconds: Annotated[int, Field(ge=4)] = 10  # a dead worker's job comes back after this

    @property
    def model_name(self) -> str:
        """What callers ask for: the config's name, or the file name of a config that lies elsewhere."""
        return Path(self.model).stem if self.model.endswith((".yaml", ".yml")) else self.model

    @property
    def limits(self) -> Limits:
        return Limits(max_bytes=self.max_upload_bytes, max_frames=self.max_frames, max_points=self.max_points)

    @field_validator("webhook_secret")
    @classmethod
    def _long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("is shorter than 32 characters")
        return value

    @field_validator("s3_access_key_id", "s3_bucket", "redis_url", "default_model", "model")
    @classmethod
    def _not_blank(cls, value: str | SecretStr | None) -> str | SecretStr | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is not None and not text.strip():
            raise ValueError("is empty")
        return value

    @model_validator(mode="after")
    def _safe(self) -> Self:
        """Outside loopback nothing goes without a password or in the open, unless the network is trusted."""
        faults = []
        if self.host not in LOOPBACK:
            without = "without keys" if self.auth == "open" else "without TLS before it"
            faults.append(f"OFLOW_HOST is {self.host!r}: {without} the gateway listens on loopback only")
        for name, secret in (("OFLOW_REDIS_URL", self.redis_url), ("OFLOW_BROKER_URL", self.broker_url)):
            url = _split(name, secret)
            if url and url.hostname not in LOOPBACK and url.scheme in ("redis", "amqp"):
                faults.append(f"{name} reaches {url.hostname!r} unencrypted: wants rediss:// or amqps://")
            if url and url.hostname not in LOOPBACK and not url.password:
                raise ValueError(f"{name} reaches {url.hostname!r} without a password")
        for name, endpoint in (
            ("OFLOW_S3_ENDPOINT_URL", self.s3_endpoint_url),
            ("OFLOW_S3_PUBLIC_ENDPOINT_URL", self.s3_public_endpoint_url),
        ):
            url = urlsplit(endpoint or "")
            if url.scheme == "http" and url.hostname not in LOOPBACK:
                faults.append(f"{name} reaches {url.hostname!r} unencrypted: wants https://")
        if faults and not self.trusted_network:
            raise ValueError(
                "; ".join(faults) + " (or OFLOW_TRUSTED_NETWORK=true, where only your own hosts can connect)"
            )
        if self.webhook_loopback and self.host not in LOOPBACK:
            raise ValueError(
                "OFLOW_WEBHOOK_LOOPBACK lets callers reach this machine: only with loopback as OFLOW_HOST"
            )
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError(
                "OFLOW_S3_ACCESS_KEY_ID and OFLOW_S3_SECRET_ACCESS_KEY go together: one is missing"
            )
        return self


def _split(name: str, secret: SecretStr | None) -> SplitResult | None:
    """The parts of an address with a password in it, of which no part comes into a message."""
    try:
        url = urlsplit(secret.get_secret_value()) if secret else None
        _ = url and url.port  # raises ValueError as well, with what stands in its place
    except ValueError:
        url = SplitResult("", "", "", "", "")
    if url is not None and not url.hostname:
        raise ValueError(
            f"{name} is no address: wants redis://:PASSWORD@HOST:PORT/0, the password URL-encoded"
        )
    return url


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings. Leaves with one line a fault instead of a traceback."""
    try:
        return Settings()  # type: ignore[call-arg]  # the required ones come from the environment
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            name = (
                "OFLOW_" + "_".join(str(part) for part in fault["loc"]).upper() + ": " if fault["loc"] else ""
            )
            lines.append(name + fault["msg"].removeprefix("Value error, "))
        raise SystemExit("Settings refused.\n  " + "\n  ".join(lines)) from None
