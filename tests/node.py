"""Packages of npm for tests."""

import shutil
import subprocess
from pathlib import Path

import pytest


def installed_packages(folder: Path) -> Path:
    """The packages of a folder's package-lock.json, installed once next to it; skips the test without npm."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed: apt-get install nodejs npm")
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".lock-installed"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        command = [npm, "ci", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)} in {folder} failed:\n{done.stderr}"
        installed.write_bytes(lock.read_bytes())
    return folder / "node_modules"
