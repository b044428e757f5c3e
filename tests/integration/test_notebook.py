"""The notebook of the documentation runs from its first cell to its last."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "folder_to_mesh.ipynb"


def test_the_notebook_makes_a_playing_mesh(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "recording.glb").read_bytes()[:4] == b"glTF"
    assert len(list((tmp_path / "recording").glob("*.ply"))) == 5
    [shown] = [output for output in notebook.cells[-1].outputs if output.output_type == "execute_result"]
    assert shown.data["image/webp"]
