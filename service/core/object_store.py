"""Files in an S3 bucket, through boto3."""

import hashlib
import logging
import math
from collections.abc import Iterator
from io import SEEK_CUR
from typing import TYPE_CHECKING, Any, BinaryIO

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from service.core.settings import Settings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

log = logging.getLogger(__name__)
UPLOAD_DAYS = 2  # the longest that an upload may wait, rounded up, and one more
PART = 5 * 2**20  # bytes, the least that S3 takes
# One part in memory at a time: the gateway stays small while large files pass through.
TRANSFER = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)


class RangeError(Exception):
    """A range that the object does not have."""


class DamagedError(Exception):
    """An object that is not the one that was stored."""


class ObjectStore:
    """The one bucket of this service; keys are `jobs/{id}/…` and `uploads/{id}`."""

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.s3_bucket
        self.retention_seconds = settings.retention_seconds
        self.download_seconds = settings.download_seconds
        self.client = _client(settings, settings.s3_endpoint_url)
        public = settings.s3_public_endpoint_url
        # A signature covers the host, so URLs for callers are signed for the address that callers use.
        self._signer = _client(settings, public) if public else self.client

    def prepare(self) -> None:
        """Create the bucket and its expiry rule where they are missing."""
        try:
            self.client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            self.client.create_bucket(Bucket=self.bucket)
        days = math.ceil(self.retention_seconds / 86_400) + 1  # S3 counts whole days; the record ends on time
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
                "the object store takes no lifecycle rule (%s): delete old files by other means", error
            )

    def ping(self) -> None:
        self.client.head_bucket(Bucket=self.bucket)

    def put(self, key: str, file: BinaryIO, media_type: str) -> None:
        small = file.read(PART)
        if len(small) < PART:  # boto3's transfers cost a third more, and ask the store before they send
            self.client.put_object(Bucket=self.bucket, Key=key, Body=small, ContentType=media_type)
            return
        file.seek(-len(small), SEEK_CUR)
        self.client.upload_fileobj(
            file, self.bucket, key, ExtraArgs={"ContentType": media_type}, Config=TRANSFER
        )

    def get(self, key: str, file: BinaryIO) -> str:
        """Download into `file`; returns the SHA-256 of what came."""
        digest = hashlib.sha256()
        for chunk in self.client.get_object(Bucket=self.bucket, Key=key)["Body"].iter_chunks(2**20):
            digest.update(chunk)
            file.write(chunk)
        return digest.hexdigest()

    def open(self, key: str, byte_range: str | None) -> tuple[dict[str, str], int, Iterator[bytes]]:
        """Headers, status and chunks of an object, or of a part of it (an HTTP `Range`).

        Raises RangeError where the part lies beyond the end.
        """
        extra: Any = {"Range": byte_range} if byte_range else {}
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=key, **extra)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 416:
                raise RangeError from None
            raise
        headers = {
            "Content-Length": str(answer["ContentLength"]),
            "Content-Type": answer["ContentType"],
            "Accept-Ranges": "bytes",
        }
        if "ContentRange" in answer:
            headers["Content-Range"] = answer["ContentRange"]
        return headers, 206 if "ContentRange" in answer else 200, answer["Body"].iter_chunks(2**18)

    def presign(self, key: str, filename: str, seconds: int) -> str:
        """A URL that downloads the object as `filename` for a while, without credentials."""
        url: str = self._signer.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.bucket,
                "Key": key,
                "ResponseContentDisposition": f'attachment; filename="{filename}"',
            },
            ExpiresIn=max(1, min(seconds, self.download_seconds)),
        )
        return url

    def presign_post(self, key: str, most_bytes: int, seconds: int) -> dict[str, Any]:
        """`url` and `fields` of a form that puts one file of at most `most_bytes` at exactly this key."""
        form: dict[str, Any] = self._signer.generate_presigned_post(
            self.bucket, key, Conditions=[["content-length-range", 1, most_bytes]], ExpiresIn=seconds
        )
        return form

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none."""
        try:
            return self.client.head_object(Bucket=self.bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return None

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def delete_all(self, prefix: str) -> None:
        """Delete every object whose key begins with `prefix`."""
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                self.delete(item["Key"])


def verified(chunks: Iterator[bytes], sha256: str) -> Iterator[bytes]:
    """The chunks of an object; the last one only if they are what was stored, else DamagedError."""
    digest, held = hashlib.sha256(), b""
    for chunk in chunks:
        if held:
            yield held
        digest.update(chunk)
        held = chunk
    if digest.hexdigest() != sha256:
        raise DamagedError
    yield held


def _client(settings: Settings, endpoint: str | None) -> "S3Client":
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
            retries={"mode": "standard", "max_attempts": 5},
            connect_timeout=5,
            read_timeout=30,
        ),
    )
