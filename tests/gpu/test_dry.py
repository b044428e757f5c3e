"""`make gpu-check` works before a GPU is there: its dry form runs on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_dry_run_measures_trains_and_reports(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.gpu", "--dry", "--out", str(tmp_path), "--minutes", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["tests"]["exit code"] == 0
    assert report["stages"][0]["flow"] > 0
    by_numba, by_torch = report["registration"]
    assert by_numba["descend"] > 0
    assert by_torch["descend (torch)"] > 0
    assert by_torch["distance"] == pytest.approx(by_numba["distance"], rel=0.02)
    assert report["networks"][0]["decode TFLOP/s"] > 0
    assert [row["exit code"] for row in report["training"]] == [0, 0]
    for network in ("shape", "flow"):
        assert (tmp_path / network / "model.pt").stat().st_size > 100_000
    assert "| product, float32 |" in (tmp_path / "report.md").read_text()
