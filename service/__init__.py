"""HTTP gateway: job records in Redis, files in S3. Never imports torch."""
