"""The commands of `oflow`."""

import importlib.util

import typer

from service.cli.backup import backup, restore
from service.cli.dead_letters import dead_letters
from service.cli.keys import keys
from service.client import commands as client
from service.core.flags import Commands, Version

app = typer.Typer(
    cls=Commands,
    help="Reconstruct moving point clouds on a server; run a server and manage its keys.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (client.reconstruct, client.status, client.download, client.cancel, client.models):
    app.command()(command)
app.command("list")(client.list_jobs)
app.add_typer(keys, name="keys")
app.add_typer(dead_letters, name="dead-letters")
for command in (backup, restore):
    app.command()(command)
if importlib.util.find_spec("service.local"):  # which the image of a gateway leaves out
    from service.local.commands import up

    app.command()(up)


@app.callback()
def root(version: Version = False) -> None:
    pass
