"""`python -m service.local`: the commands `up` and `demo`."""

import typer

from service.core.flags import Commands
from service.local.commands import demo, up

app = typer.Typer(
    cls=Commands,
    help="Run the whole service on this machine, without Docker.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(up)
app.command()(demo)

if __name__ == "__main__":
    app()
