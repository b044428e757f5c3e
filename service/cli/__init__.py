"""The command `oflow`. It imports nothing but the standard library until it runs."""

from service.core.extras import needs


def main() -> None:
    with needs("client"):
        from service.cli.app import app

        app(prog_name="oflow")
