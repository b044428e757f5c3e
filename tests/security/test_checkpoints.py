"""Only the operator, never a caller, chooses the checkpoint."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from model import load_config
from model.checkpoints import checkpoint_hash
from model.errors import CheckpointError
from service.core.settings import Settings
from tests.security.caller import Caller
from worker.checkpoints import served_checkpoint

SHIPPED = "configs/checkpoints/bodies_128.pt"


@pytest.mark.parametrize(
    "options",
    [
        {"checkpoint": "/tmp/mine.pt"},
        {"checkpoint": "https://evil.example/mine.pt"},
        {"config": "/tmp/mine.yaml"},
        {"model": "/tmp/mine.yaml"},
        {"model": "configs/bodies.yaml"},
        {"model": "../configs/bodies"},
        {"model": "https://evil.example/mine.pt"},
        {"device": "cuda"},
        {"OFLOW_CHECKPOINT": "/tmp/mine.pt"},
    ],
)
def test_job_options_cannot_select_a_file(
    mine: Caller, any_model: str, sample: bytes, options: dict[str, str]
) -> None:
    """`any_model` ensures that a model is registered."""
    response = mine.send("POST", "/reconstruct", files={"file": ("a.npz", sample)}, data=options)
    assert response.status_code == 422
    assert response.json()["code"] == ("unknown_model" if "model" in options else "invalid_options")


def settings_with(settings: Settings, **changes: object) -> Settings:
    return Settings(**dict(settings) | changes)


def test_only_the_file_with_the_hash_is_loaded(settings: Settings) -> None:
    config, right = load_config("bodies"), checkpoint_hash(SHIPPED)
    assert served_checkpoint(config, settings_with(settings, checkpoint_sha256=right)).samefile(SHIPPED)
    assert served_checkpoint(config, settings_with(settings, checkpoint_sha256=right.upper())).samefile(
        SHIPPED
    )
    wrong = settings_with(settings, checkpoint_sha256="0" * 64)
    with pytest.raises(CheckpointError, match=rf"has SHA-256 {right}, not that of OFLOW_CHECKPOINT_SHA256"):
        served_checkpoint(config, wrong)
    with pytest.raises(ValidationError, match="checkpoint_sha256"):
        settings_with(settings, checkpoint_sha256="0" * 63)


def test_worker_refuses_a_checkpoint_with_another_hash(settings: Settings, tmp_path: Path) -> None:
    from worker.serving.context import WorkerContext
    from worker.serving.runner import Runner
    from worker.serving.spool import Spool

    with pytest.raises(CheckpointError, match="OFLOW_CHECKPOINT_SHA256"):
        Runner(WorkerContext(settings_with(settings, checkpoint_sha256="0" * 64)), Spool(tmp_path))


def test_checkpoint_url_requires_a_hash(settings: Settings, unfetched: list[str]) -> None:
    config = load_config("bodies")
    bare = "https://models.example/model.pt"
    with pytest.raises(CheckpointError, match="names no hash; wanted OFLOW_CHECKPOINT_SHA256"):
        served_checkpoint(config, settings_with(settings, checkpoint=bare))
    assert unfetched == []
    for changes in ({"checkpoint_sha256": "0" * 64}, {"checkpoint": bare.replace(".pt", "-3ff330bc.pt")}):
        with pytest.raises(RuntimeError, match="not in a test"):
            served_checkpoint(config, settings_with(settings, **{"checkpoint": bare} | changes))
    assert len(unfetched) == 2


@pytest.fixture
def unfetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """URLs that would have been fetched."""
    requested: list[str] = []

    def fetch(url: str) -> None:
        requested.append(url)
        raise RuntimeError("not in a test")

    monkeypatch.setattr("worker.checkpoints.fetch_checkpoint", fetch)
    return requested
