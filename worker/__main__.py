"""The command `worker`. It imports nothing but the standard library until it runs."""

from service.core.extras import needs
from worker.memory import share_arenas

# Packages of the extra `train` alone.
TRAINING = dict.fromkeys(("PIL", "matplotlib", "pandas", "sklearn", "tensorboard"), "train")


def main() -> None:
    share_arenas()
    with needs("worker", TRAINING):
        from worker.commands.cli import app

        app(prog_name="worker")


if __name__ == "__main__":
    main()
