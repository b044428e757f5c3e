"""Checkpoints named by URL: fetched once, gone on with, checked against their names, never half there."""

import hashlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from model import Config, build_model, load_config
from model.checkpoints import checkpoint_hash
from model.errors import CheckpointError
from tests.worker.file_host import Host
from worker import fetch as fetching
from worker.checkpoints import checkpoint_file, fetch_checkpoint, initialization_file, kept_file
from worker.commands.cli import app
from worker.fetch import FetchError
from worker.training.initialization import initialize

SMALL = {
    "c_dim": 8,
    **{f"{part}_kwargs": {"hidden_dim": 8} for part in ("encoder", "encoder_temporal")},
    "velocity_field_kwargs": {"hidden_size": 8},
    "decoder_kwargs": {"hidden_size": 8},
}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OFLOW_CHECKPOINTS_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr(fetching, "PAUSE", 0.01)
    return tmp_path / "kept"


@pytest.fixture
def host(kept: Path) -> Iterator[Host]:
    """A server of a small network's checkpoint, under a name with its hash."""
    torch.manual_seed(0)
    content = io.BytesIO()
    torch.save({"model": build_model(small()).state_dict(), "it": 5}, content)
    served = Host(content.getvalue(), f"model-{hashlib.sha256(content.getvalue()).hexdigest()[:8]}.pt")
    yield served
    served.server.shutdown()
    served.server.server_close()


def small(**sections: dict[str, object]) -> Config:
    return load_config("pointcloud/oflow", {"model": SMALL} | sections)


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if not file.name.endswith(".lock"))


def test_it_is_fetched_once_and_kept(host: Host, kept: Path) -> None:
    config = small(test={"model_file": host.url})
    file = checkpoint_file(config)
    assert file.read_bytes() == host.content
    assert file == kept / host.url.rpartition("/")[2] == kept_file(host.url)
    assert checkpoint_file(config) == checkpoint_file(load_config("bodies"), host.url) == file
    assert len(host.ranges) == 1
    host.server.shutdown()
    host.server.server_close()
    assert checkpoint_file(config) == file, "without the host"


def test_a_cut_is_gone_on_with_in_one_call_and_by_the_next(host: Host, kept: Path) -> None:
    host.breaks = [10_000, 5_000] + [0] * 5
    with pytest.raises(FetchError, match="the connection was lost after 15000 of"):
        fetch_checkpoint(host.url)
    assert not kept_file(host.url).exists()
    host.breaks = []
    assert fetch_checkpoint(host.url).read_bytes() == host.content
    assert host.ranges[1] == "bytes=10000-"
    assert host.ranges[-1] == "bytes=15000-"
    assert files(kept) == [kept_file(host.url).name], "nothing else is left behind"


def test_one_that_was_complete_when_it_was_killed(host: Host, kept: Path) -> None:
    kept.mkdir()
    name = kept_file(host.url).name
    (kept / f".{name}.part").write_bytes(host.content)
    (kept / f".{name}.part.version").write_text(host.tag)
    assert fetch_checkpoint(host.url).read_bytes() == host.content


def test_another_file_under_the_name_is_refused(host: Host, kept: Path) -> None:
    right = host.content
    host.content = right[:-1] + b"?"
    with pytest.raises(FetchError, match=r"gave a file with SHA-256 \w{64}, not \w{8}\. .*--checkpoint"):
        fetch_checkpoint(host.url)
    assert files(kept) == []
    host.content = right
    fetch_checkpoint(host.url).write_bytes(b"damaged later")
    assert fetch_checkpoint(host.url).read_bytes() == right


def test_what_cannot_be_had_says_what_to_do(host: Host, kept: Path) -> None:
    host.status = 404
    with pytest.raises(
        FetchError, match=r"HTTP 404 .*give its path by --checkpoint, or put it at .*kept/model-"
    ):
        fetch_checkpoint(host.url)
    host.server.shutdown()
    host.server.server_close()
    with pytest.raises(FetchError, match=r"does not answer: .*refused.*give its path by --checkpoint"):
        fetch_checkpoint(host.url)
    assert files(kept) == []


@pytest.mark.parametrize(
    "url", ["http://example.org/a.pt", "ftp://example.org/a.pt", "file:///etc/passwd", "https://example.org/"]
)
def test_only_addresses_that_are_safe_and_name_a_file(url: str, kept: Path) -> None:
    with pytest.raises(CheckpointError, match="wanted"):
        fetch_checkpoint(url)


def test_names_without_a_hash_are_kept_apart_and_inside(kept: Path) -> None:
    ours, theirs = kept_file("https://a.org/model_best.pt"), kept_file("https://b.org/model_best.pt")
    assert ours != theirs
    assert kept_file("https://a.org/%2e%2e/..").parent == kept


def test_a_folder_that_cannot_be_written_is_told(host: Host, kept: Path) -> None:
    kept.write_text("in the way")
    with pytest.raises(CheckpointError, match="set OFLOW_CHECKPOINTS_DIR"):
        fetch_checkpoint(host.url)


def test_the_cache_of_the_user_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OFLOW_CHECKPOINTS_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept_file("https://a.org/m-3ff330bc.pt") == tmp_path / "oflow" / "checkpoints" / "m-3ff330bc.pt"


def test_several_that_want_it_fetch_it_once(host: Host) -> None:
    threads = [threading.Thread(target=fetch_checkpoint, args=(host.url,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(host.ranges) == 1
    assert kept_file(host.url).read_bytes() == host.content


def test_training_starts_from_a_url(host: Host) -> None:
    config = small()
    config = small(model=SMALL | {"initialize_from": host.url})
    net = build_model(config)
    note = initialize(net, config)
    assert note is not None
    assert "left as they were" not in note
    stored = torch.load(kept_file(host.url), weights_only=True)["model"]
    assert all(torch.equal(tensor, stored[name]) for name, tensor in net.state_dict().items())
    assert initialization_file(small()) is None


def test_the_commands_take_a_url(host: Host, tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    values = "\n".join(f"  {key}: {value}" for key, value in SMALL.items()).replace("'", "")
    config.write_text(
        f"inherit_from: configs/pointcloud/oflow.yaml\nmodel:\n{values}\ntest:\n  model_file: {host.url}\n"
    )
    knees = Path(__file__).parents[2] / "service" / "page" / "samples" / "knees.npz"
    arguments = [
        "reconstruct",
        str(knees),
        str(tmp_path / "out.glb"),
        "--resolution",
        "32",
        "--device",
        "cpu",
    ]
    by_config = CliRunner().invoke(app, [*arguments, "--model", str(config), "--threshold", "0.5"])
    # An untrained network may have no surface; it was loaded, which is what is asked here.
    assert "Traceback" not in by_config.output
    assert checkpoint_hash(kept_file(host.url)) == hashlib.sha256(host.content).hexdigest()
    wrong = CliRunner().invoke(app, [*arguments, "--checkpoint", host.url])
    assert wrong.exit_code == 2
    assert "does not fit the network" in wrong.output
    host.status = 404
    gone = CliRunner().invoke(
        app, [*arguments, "--checkpoint", f"{host.url}?v=2".replace("model-", "other-")]
    )
    assert gone.exit_code == 2
    assert "HTTP 404" in gone.output
