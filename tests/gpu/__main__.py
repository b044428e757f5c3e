"""`make gpu-check`: everything that needs a GPU, in one run of a given length, and a report of it.

    python -m tests.gpu [--minutes 8] [--out gpu-out] [--dry]

Runs the tests marked `gpu`, then the measurements, then `worker train` for both halves of local_oflow
with the time that is left; runs in `--out` that were stopped go on. Writes report.json, report.md and the run
folders.
`--dry` does the same on the CPU, briefly, to know that the command works.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tests.gpu import measurements

ROOT = Path(__file__).parents[2]
RESERVE = 30.0  # seconds kept for the end: the start of `worker train`, its last validation, the report
TRAININGS = {"shape": 0.6, "flow": 0.4}  # halves of local_oflow → shares of the cores, which draw bodies
DRY = (
    "data.solids.batches=small",
    "data.solids.held_out_points=[100]",
    "data.solids.held_out_view_points=100",
    "training.n_val_items=1",
)
DRY_MINUTES = 0.2


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="of wall-clock time, in all")
    parser.add_argument("--out", type=Path, default=Path("gpu-out"), help="report and checkpoints")
    parser.add_argument("--dry", action="store_true", help="on the CPU, briefly")
    parser.add_argument("--train-only", action="store_true", help="no tests, no measurements")
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes
    device = "cpu" if given.dry else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        print("No CUDA device here; --dry runs the check on the CPU", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"machine": machine(device)}
    if not given.train_only:
        report["tests"] = run_tests(given.out)
        for measure in (
            measurements.stages,
            measurements.registration,
            measurements.networks,
            measurements.compiled,
            measurements.roofline,
        ):
            try:
                report[measure.__name__] = measure(device, given.dry)
            except Exception as error:  # a report with a gap beats none
                report[measure.__name__] = [{"failed": f"{type(error).__name__}: {error}"[:300]}]
            write(report, given.out)
    report["training"] = run_training(given.out, end - time.monotonic() - RESERVE, given.dry)
    write(report, given.out)
    failed = report.get("tests", {}).get("exit code", 0) not in (0, 5 if given.dry else 0)
    return int(failed or any(row["exit code"] for row in report["training"]))


def machine(device: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "device": device,
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {"name": properties.name, "memory GiB": round(properties.total_memory / 2**30, 1)}
        facts |= {"cuda": torch.version.cuda, "bfloat16": torch.cuda.is_bf16_supported()}
    return facts


def run_tests(out: Path) -> dict[str, Any]:
    """The tests marked `gpu`. They need no server, so the conftest that starts servers is left out."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "--noconftest", "-q", "-p", "no:cacheprovider"]
    places = ["tests/gpu", "tests/model", "tests/worker/solids"]
    done = subprocess.run(
        [*command, *(place for place in places if (ROOT / place).exists())],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    (out / "tests.log").write_text(done.stdout + done.stderr)
    lines = done.stdout.strip().splitlines() or [""]
    return {"exit code": done.returncode, "summary": lines[-1]}


def run_training(out: Path, seconds: float, dry: bool) -> list[dict[str, Any]]:
    """Train both halves at once (neither fills a large GPU alone), in folders of `out`."""
    minutes = DRY_MINUTES if dry else seconds / 60
    if seconds <= 0:
        return []
    running = {}
    cores = (os.cpu_count() or 1) - 1
    for half, share in TRAININGS.items():
        workers = 0 if dry else round(share * cores)
        command = [sys.executable, "-m", "worker", "train", f"training/local_oflow_{half}"]
        command += ["--out", str(out / half), "--minutes", f"{minutes:.3f}"]
        command += ["--device", "cpu" if dry else "cuda", f"training.num_workers={workers}"]
        log = (out / f"{half}.log").open("w")
        running[half] = subprocess.Popen(
            [*command, *(DRY if dry else ())], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
    return [
        {
            "half": half,
            "minutes": round(minutes, 2),
            "exit code": process.wait(),
            "last": last_validation(out / f"{half}.log"),
        }
        for half, process in running.items()
    ]


def last_validation(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("it ")]
    return lines[-1][:200] if lines else ""


def write(report: Mapping[str, Any], out: Path) -> None:
    (out / "report.json").write_text(json.dumps(report, indent=1))
    text = ["# GPU report", ""]
    for title, content in report.items():
        text += [f"## {title}", ""]
        rows = content if isinstance(content, list) else [content]
        if rows:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            text += ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
            text += [
                "| " + " | ".join(_cell(row.get(column, "")) for column in columns) + " |" for row in rows
            ]
        text += [""]
    (out / "report.md").write_text("\n".join(text))


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
