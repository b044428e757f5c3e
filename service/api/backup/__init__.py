"""Online backup of the records in Redis and of the files in the object store, and restoring both."""
