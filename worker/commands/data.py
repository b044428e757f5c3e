"""The commands `worker data …` for data sets on disk."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Data to reconstruct and to learn from.", no_args_is_help=True)


@app.command()
def pack(
    data_dir: Annotated[
        Path, typer.Argument(metavar="DATA_DIR", help="A data set, a class, or a sequence of it.")
    ],
) -> None:
    """Rewrite frames, one .npz each, as memory-mapped arrays that training reads many times faster.

    Call it again after an interruption or a change: what is done is kept.
    """
    from worker.data.pack import pack as run

    raise typer.Exit(run(data_dir))
