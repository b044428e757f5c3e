"""Git ignores the files that examples of the documentation write, for whoever pastes them in a checkout."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("configs/checkpoints/*.md")]
NOTEBOOK = json.loads((ROOT / "docs" / "folder_to_mesh.ipynb").read_text())
CELLS = "\n".join("".join(cell["source"]) for cell in NOTEBOOK["cells"])
NAME = r"([\w-]*[./][\w./-]*)"
WRITTEN = [
    rf"(?: -o| --out| --plot| --json|\btee| >) {NAME}",
    rf"worker (?:reconstruct|join|data sample)\s[^#`\n]*? {NAME}(?: --.*)?(?:`|\s*#.*)?$",
    rf"worker data bodies {NAME}",
    r'(?:download\(job, |writeFile\()"([^"]+)"',
    r'open\("([^"]+)", "w',
    r'Path\("([^"]+)"\)',
]


def written(text: str) -> set[str]:
    """Relative names that the commands and programs of a page write."""
    text = re.sub(r"\\\n\s*", "", text)
    found = {name for pattern in WRITTEN for name in re.findall(pattern, text, re.MULTILINE)}
    return {name for name in found if not name.startswith("/")}


def test_git_ignores_what_the_examples_write(tmp_path: Path) -> None:
    if (git := shutil.which("git")) is None:
        pytest.skip("git is not installed")
    names = set().union(*(written(file.read_text()) for file in PAGES))
    inside = {f"docs/{name}" for name in written(CELLS)} | written(CELLS)
    assert {"job.json", "knees.glb", "joined.pt", "sizes.png", "docs/recording"} <= names | inside
    subprocess.run([git, "init", "--quiet", tmp_path], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    for folder in ("backup", "between", "matched", "recording", "docs/recording"):
        (tmp_path / folder).mkdir(parents=True)
    given = "\0".join(sorted(names | inside))
    command = [git, "-C", str(tmp_path), "check-ignore", "--stdin", "-z"]
    ignored = subprocess.run(command, input=given, capture_output=True, text=True).stdout.split("\0")
    assert names | inside <= set(ignored), names | inside - set(ignored)
