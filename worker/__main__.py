"""`python -m worker`: the command `worker`."""

from worker.commands.cli import main

main()
