"""The load suite with a few jobs: it runs, and reports numbers only for verified jobs."""

import json
import subprocess
import sys
from pathlib import Path


def test_a_short_load(tmp_path: Path) -> None:
    file = tmp_path / "load.json"
    command = [sys.executable, "-m", "tests.suites.load", "jobs", "--jobs=6", "--clients=3", f"--json={file}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wait in the queue" in done.stdout
    report = json.loads(file.read_text())
    assert report["machine"]["cores"] >= 1
    rows = {row["name"]: row["value"] for row in report["jobs"]["rows"]}
    assert rows["accepted"] > 0
    assert rows["ended"] > 0
    assert 0 < rows["Valkey, per expired job"] < rows["Valkey, per ended job"] < 100  # kB
    assert 0 < rows["poll, median"] <= rows["poll, 99 %"]
    assert rows["worker, child, after"] > rows["gateway, after"] > 20  # MiB
