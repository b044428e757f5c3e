"""HTTP gateway: job records in Redis, files in S3. Never imports torch."""

VERSION = "0.1.0"
