"""Files in an S3 bucket."""

import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from io import SEEK_CUR
from typing import TYPE_CHECKING, Any, BinaryIO

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from service.core.jobs.options import RETENTION_LIMIT
from service.core.settings import Settings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

log = logging.getLogger(__name__)
UPLOAD_DAYS = 2  # maximum lifetime of an upload in whole days, plus one
EXPIRES = "expires-at"  # metadata of an object
PART_BYTES = 5 * 2**20  # the smallest part size S3 accepts
PART_SECONDS = 30.0  # without an answer while a part is on its way, over a slow line
# Without threads only one part is in memory at a time, however large the file.
TRANSFER = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False)


class RangeError(Exception):
    """The requested range lies outside the object."""


class DamagedError(Exception):
    """The object's content does not match its hash."""


class ObjectStore:
    """The service's bucket, with keys `jobs/{id}/…` and `uploads/{id}`."""

    def __init__(self, settings: Settings, *, timeout: float = 30, attempts: int = 5) -> None:
        """`timeout` is in seconds of silence, at least PART_SECONDS for parts; `attempts` of each request."""
        self.bucket = settings.s3_bucket
        self.retention_seconds = settings.retention_seconds
        self.download_seconds = settings.download_seconds
        self.client = _client(settings, settings.s3_endpoint_url, timeout, attempts)
        self._sender = _client(settings, settings.s3_endpoint_url, max(timeout, PART_SECONDS), attempts)
        public = settings.s3_public_endpoint_url
        # The signature covers the host, so presigned URLs must be signed for the public endpoint.
        self._signer = _client(settings, public, timeout, attempts) if public else self.client

    def prepare(self) -> None:
        """Create the bucket if it is missing, and set its lifecycle rules."""
        try:
            self.client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            self._create_bucket()
        # Lifecycle rules count whole days; they are a safety net behind the exact expiry of the job records.
        days = math.ceil(max(self.retention_seconds, RETENTION_LIMIT) / 86_400) + 1
        rules: list[Any] = [
            {
                "ID": f"oflow-{prefix}",
                "Status": "Enabled",
                "Filter": {"Prefix": f"{prefix}/"},
                "Expiration": {"Days": days},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            }
            for prefix, days in (("jobs", days), ("uploads", UPLOAD_DAYS))
        ]
        try:
            self.client.put_bucket_lifecycle_configuration(
                Bucket=self.bucket, LifecycleConfiguration={"Rules": rules}
            )
        except ClientError as error:
            log.warning(
                "the object store does not support lifecycle rules (%s): delete old files by other means",
                error,
            )

    def _create_bucket(self) -> None:
        region = self.client.meta.region_name
        # AWS wants the region to be named, except for its first one, which must not be.
        place: Any = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self.client.create_bucket(Bucket=self.bucket, **(place if region != "us-east-1" else {}))

    def ping(self) -> None:
        self.client.head_bucket(Bucket=self.bucket)

    def put(self, key: str, file: BinaryIO, media_type: str, expires_at: datetime | None = None) -> None:
        """Store a file; `expires_at` is kept with it for `time_over`."""
        extra: Any = {"ContentType": media_type}
        if expires_at is not None:
            extra["Metadata"] = {EXPIRES: expires_at.isoformat()}
        head = file.read(PART_BYTES)
        if len(head) < PART_BYTES:  # for small files put_object is a third cheaper than boto3's transfers
            self.client.put_object(Bucket=self.bucket, Key=key, Body=head, **extra)
            return
        file.seek(-len(head), SEEK_CUR)
        self._sender.upload_fileobj(file, self.bucket, key, ExtraArgs=extra, Config=TRANSFER)

    def get(self, key: str, file: BinaryIO) -> str:
        """Download an object into `file` and return its SHA-256."""
        digest = hashlib.sha256()
        for chunk in self.client.get_object(Bucket=self.bucket, Key=key)["Body"].iter_chunks(2**20):
            digest.update(chunk)
            file.write(chunk)
        return digest.hexdigest()

    def open(self, key: str, byte_range: str | None) -> tuple[dict[str, str], int, Iterator[bytes]]:
        """Headers, status and content of an object, or of an HTTP byte range of it.

        Raises RangeError if the range lies beyond the end.
        """
        extra: Any = {"Range": byte_range} if byte_range else {}
        try:
            response = self.client.get_object(Bucket=self.bucket, Key=key, **extra)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 416:
                raise RangeError from None
            raise
        headers = {
            "Content-Length": str(response["ContentLength"]),
            "Content-Type": response["ContentType"],
            "Accept-Ranges": "bytes",
        }
        if "ContentRange" in response:
            headers["Content-Range"] = response["ContentRange"]
        return headers, 206 if "ContentRange" in response else 200, response["Body"].iter_chunks(2**18)

    def presign(self, key: str, filename: str, seconds: int, *, head: bool = False) -> str:
        """A presigned URL that downloads the object as `filename`, valid for at most `seconds`.

        It is for GET, or with `head` for HEAD.
        """
        url: str = self._signer.generate_presigned_url(
            "head_object" if head else "get_object",
            Params={
                "Bucket": self.bucket,
                "Key": key,
                "ResponseContentDisposition": f'attachment; filename="{filename}"',
            },
            ExpiresIn=max(1, min(seconds, self.download_seconds)),
        )
        return url

    def presign_post(self, key: str, max_bytes: int, seconds: int) -> dict[str, Any]:
        """`url` and `fields` of a form that stores one file of at most `max_bytes` under exactly this key.

        The store redirects nowhere: some stores would follow a field that the policy does not mention.
        """
        nowhere = dict.fromkeys(("success_action_redirect", "redirect"), "")
        form: dict[str, Any] = self._signer.generate_presigned_post(
            self.bucket,
            key,
            Fields=nowhere,
            Conditions=[["content-length-range", 1, max_bytes], *({name: ""} for name in nowhere)],
            ExpiresIn=seconds,
        )
        return form

    def presign_put(self, key: str, size: int, seconds: int) -> str:
        """A presigned URL that stores one file of exactly `size` bytes under this key."""
        url: str = self._signer.generate_presigned_url(
            "put_object",
            Params={"Bucket": self.bucket, "Key": key, "ContentLength": size},
            ExpiresIn=seconds,
        )
        return url

    def size(self, key: str) -> int | None:
        """Size of an object in bytes, or None if it does not exist."""
        try:
            return self.client.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return None

    def pages(self, prefix: str) -> Iterator[list[str]]:
        """The names of files and folders directly below a prefix, at most a thousand at a time."""
        pages = self.client.get_paginator("list_objects_v2").paginate
        for page in pages(Bucket=self.bucket, Prefix=prefix, Delimiter="/"):
            keys = [item["Prefix"].rstrip("/") for item in page.get("CommonPrefixes", [])]
            keys += [item["Key"] for item in page.get("Contents", [])]
            if names := [key.removeprefix(prefix) for key in keys if key != prefix]:
                yield names

    def time_over(self, prefix: str, named: str, longest: timedelta) -> datetime | None:
        """When the files below a prefix expire; None if there are none.

        That is stored with the one that is `named`; otherwise it is `longest` after the last was written.
        """
        items = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        if any(item["Key"] == prefix + named for item in items):
            found = self.client.head_object(Bucket=self.bucket, Key=prefix + named)["Metadata"].get(EXPIRES)
            with suppress(TypeError, ValueError):
                return datetime.fromisoformat(found or "")
        written = [item["LastModified"] for item in items]
        return max(written) + longest if written else None

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def delete_all(self, prefix: str) -> None:
        """Delete all objects whose key starts with `prefix`."""
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                self.delete(item["Key"])


def verified(chunks: Iterator[bytes], sha256: str) -> Iterator[bytes]:
    """Yield the chunks of an object, withholding the last one until the hash is verified.

    Raises DamagedError on a mismatch.
    """
    digest, held = hashlib.sha256(), b""
    for chunk in chunks:
        if held:
            yield held
        digest.update(chunk)
        held = chunk
    if digest.hexdigest() != sha256:
        raise DamagedError
    yield held


def _client(settings: Settings, endpoint: str | None, timeout: float, attempts: int) -> "S3Client":
    secret = settings.s3_secret_access_key
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=settings.s3_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        region_name=settings.s3_region,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if settings.s3_path_style else "auto"},
            retries={"mode": "standard", "total_max_attempts": attempts},
            # Not all stores take the checksums that botocore adds by default; files have hashes of their own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=min(5, timeout),
            read_timeout=timeout,
        ),
    )
