import shutil
import tarfile
from pathlib import Path

import pytest

TINY = Path(__file__).parent.parent / "data" / "tiny_dataset.tar.gz"


@pytest.fixture(scope="session")
def tiny_humans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in the published layout, 157 surface points a frame, to read only: `data.path`."""
    folder = tmp_path_factory.mktemp("tiny")
    with tarfile.open(TINY) as archive:
        archive.extractall(folder, filter="data")
    return folder / "Humans"


@pytest.fixture
def humans(tiny_humans: Path, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    return Path(shutil.copytree(tiny_humans, tmp_path / "Humans"))
