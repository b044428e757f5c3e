"""Settings of the gateway and the worker, read from environment variables with the prefix OFLOW_."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.core.sequences.sequence import Limits
from service.core.validation import in_words

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
MIB = 1024**2
UNVERIFIED = re.compile(r"ssl_cert_reqs=(?!(cert_)?required)|ssl_check_hostname=(?!true)", re.IGNORECASE)


class Settings(BaseSettings):
    """Read once at startup; a missing, invalid or unsafe value stops the process with a message."""

    model_config = SettingsConfigDict(env_prefix="OFLOW_", extra="ignore", frozen=True)

    # The gateway
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    auth: Literal["keys", "open"] = "keys"  # open: no authentication, all clients share one identity
    trusted_network: bool = False  # the network or a proxy keeps untrusted clients out
    default_model: str = "local_oflow"
    public_url: str | None = None  # address as seen by clients; makes links in jobs and webhooks absolute
    cors_origins: str = ""  # origins whose pages may call the API, separated by commas
    max_connections: Annotated[int, Field(gt=0)] = 512  # further connections are refused
    header_seconds: Annotated[float, Field(gt=0)] = 10  # timeout for receiving request headers
    stall_seconds: Annotated[float, Field(gt=0)] = 30  # timeout without progress on a body or response
    min_rate: Annotated[int, Field(gt=0)] = 4096  # bytes/s; slower uploads and downloads are aborted
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"

    # Redis: job records, and the queue unless broker_url is set
    redis_url: SecretStr
    broker_url: SecretStr | None = None

    # The object store
    s3_endpoint_url: str | None = None  # None: AWS
    s3_public_endpoint_url: str | None = None  # endpoint as seen by clients, if different
    s3_access_key_id: str | None = None  # None: boto3's credential chain (instance role, profile, …)
    s3_secret_access_key: SecretStr | None = None
    s3_bucket: str = "oflow"
    s3_region: str = "us-east-1"
    s3_path_style: bool = False
    download_seconds: Annotated[int, Field(ge=10, le=604_800)] = 3600  # lifetime of presigned URLs

    # Limits and retention
    max_upload_bytes: Annotated[int, Field(gt=0)] = 256 * MIB
    max_frames: Annotated[int, Field(ge=2)] = 1000
    max_points: Annotated[int, Field(gt=0)] = 20_000_000  # frames × points
    retention_seconds: Annotated[int, Field(ge=60)] = 24 * 3600
    upload_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3600  # lifetime of a presigned upload
    upload_method: Literal["post", "put"] = "post"  # put: for stores without presigned forms
    max_queued: Annotated[int, Field(gt=0)] = 1000  # queued jobs per model
    rate_limit: Annotated[int, Field(gt=0)] = 600  # requests per minute and key
    open_uploads: Annotated[int, Field(gt=0)] = 100  # pending uploads per key
    open_streams: Annotated[int, Field(gt=0)] = 200  # event streams and `Prefer: wait` requests per key
    open_jobs: Annotated[int, Field(gt=0)] = 100  # queued and running jobs per key
    max_job_seconds: Annotated[int, Field(gt=0)] = 900  # estimated for a job, else it is refused
    max_job_memory_bytes: Annotated[int, Field(gt=0)] = 2048 * MIB  # likewise, for meshes and a file
    open_seconds: Annotated[int, Field(gt=0)] = 4 * 3600  # estimated for the open jobs of a key
    max_records: Annotated[int, Field(gt=0)] = 20_000  # job records per key, including those of ended jobs
    max_record_bytes: Annotated[int, Field(gt=0)] = 64 * MIB  # memory of Redis that these take

    # Webhooks
    webhook_secret: SecretStr | None = None  # signing secrets are derived from it; None disables webhooks
    webhook_loopback: bool = False  # allow plain http to loopback, for tests

    # The worker
    model: str = "local_oflow"  # a name under configs/, or a path to a YAML file
    checkpoint: str | None = None  # path or URL; None: the config's checkpoint
    checkpoint_sha256: Annotated[str | None, Field(pattern="^[0-9a-fA-F]{64}$")] = None  # required hash
    device: str = "auto"
    job_deadline_seconds: Annotated[int, Field(ge=10)] = 900  # to compute a job
    storing_seconds: Annotated[int, Field(ge=10)] = 300  # to write and store its files afterwards
    drain_seconds: Annotated[float, Field(ge=0)] = 0  # for which a stopped worker goes on with its job
    job_memory_bytes: Annotated[int | None, Field(ge=512 * MIB)] = None  # that a job may allocate; None: 45 %
    max_attempts: Annotated[int, Field(ge=1)] = 3
    visibility_timeout_seconds: Annotated[int, Field(ge=4)] = 10  # until a lost worker's job is redelivered

    @property
    def model_name(self) -> str:
        """The model's name in the API: the config name, or the stem of a config file's path."""
        return Path(self.model).stem if self.model.endswith((".yaml", ".yml")) else self.model

    @property
    def origins(self) -> list[str]:
        return _listed(self.cors_origins)

    @property
    def limits(self) -> Limits:
        return Limits(max_bytes=self.max_upload_bytes, max_frames=self.max_frames, max_points=self.max_points)

    @field_validator("webhook_secret")
    @classmethod
    def _long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in _listed(value):
            if not re.fullmatch(r"https?://[^/?#@\s*]+", origin):
                raise ValueError(f"{origin!r} is not an origin: expected for example https://app.example.org")
        return value

    @field_validator("public_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^?#@\s]+", value):
            raise ValueError("is not an address: expected for example https://oflow.example.org")
        return value and value.rstrip("/")

    @field_validator("s3_access_key_id", "s3_bucket", "redis_url", "default_model", "model")
    @classmethod
    def _not_blank(cls, value: str | SecretStr | None) -> str | SecretStr | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is not None and not text.strip():
            raise ValueError("must not be empty")
        return value

    @model_validator(mode="after")
    def _safe(self) -> Self:
        """Beyond loopback, require passwords, and encryption unless the network is trusted."""
        faults = []
        if self.host not in LOOPBACK:
            without = "without keys" if self.auth == "open" else "without a TLS proxy"
            faults.append(f"OFLOW_HOST is {self.host!r}: {without} the gateway may only listen on loopback")
        for name, secret in (("OFLOW_REDIS_URL", self.redis_url), ("OFLOW_BROKER_URL", self.broker_url)):
            url = _split(name, secret)
            if url and url.hostname not in LOOPBACK and url.scheme in ("redis", "amqp"):
                faults.append(f"{name} connects to {url.hostname!r} unencrypted: use rediss:// or amqps://")
            if url and UNVERIFIED.search(url.query):
                faults.append(f"{name} turns the verification of certificates off: remove it from the query")
            if url and url.hostname not in LOOPBACK and not url.password:
                raise ValueError(f"{name} connects to {url.hostname!r} without a password: add one")
        for name, endpoint in (
            ("OFLOW_S3_ENDPOINT_URL", self.s3_endpoint_url),
            ("OFLOW_S3_PUBLIC_ENDPOINT_URL", self.s3_public_endpoint_url),
        ):
            url = urlsplit(endpoint or "")
            if url.scheme == "http" and url.hostname not in LOOPBACK:
                faults.append(f"{name} connects to {url.hostname!r} unencrypted: use https://")
        if faults and not self.trusted_network:
            raise ValueError(
                "; ".join(faults) + " (or set OFLOW_TRUSTED_NETWORK=true if only your own hosts can connect)"
            )
        if self.webhook_loopback and self.host not in LOOPBACK:
            raise ValueError(
                "OFLOW_WEBHOOK_LOOPBACK gives callers access to this machine: "
                "it requires a loopback address as OFLOW_HOST"
            )
        if self.open_seconds < self.max_job_seconds:
            raise ValueError("OFLOW_OPEN_SECONDS must not be less than OFLOW_MAX_JOB_SECONDS")
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError("set both OFLOW_S3_ACCESS_KEY_ID and OFLOW_S3_SECRET_ACCESS_KEY, or neither")
        return self


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _split(name: str, secret: SecretStr | None) -> SplitResult | None:
    """Parse a URL with a password, without ever quoting it in an error message."""
    try:
        url = urlsplit(secret.get_secret_value()) if secret else None
        _ = url and url.port  # raises ValueError for an invalid port
    except ValueError:
        url = SplitResult("", "", "", "", "")
    if url is not None and not url.hostname:
        raise ValueError(
            f"{name} is not a valid URL: expected redis://:PASSWORD@HOST:PORT/0 with a URL-encoded password"
        )
    return url


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings. If they are invalid, exits with one line per error instead of a traceback."""
    try:
        return Settings()  # type: ignore[call-arg]  # required fields come from the environment
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            name = (
                "OFLOW_" + "_".join(str(part) for part in fault["loc"]).upper() + ": " if fault["loc"] else ""
            )
            lines.append(name + in_words(fault))
        raise SystemExit("Invalid settings:\n  " + "\n  ".join(lines)) from None
