"""What runs on the box with the accelerator: Celery tasks and the `worker` command."""
