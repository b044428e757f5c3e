"""What the project says of itself in several places agrees: hooks, workflows, templates, commands."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
SECURITY = ROOT / "docs" / "security.md"
SCRIPTS = Path(sysconfig.get_path("scripts"))
SCHEMAS = {
    "github-workflows": sorted((ROOT / ".github" / "workflows").glob("*.yml")),
    "github-issue-forms": [
        ROOT / ".github" / "ISSUE_TEMPLATE" / f"{kind}.yml" for kind in ("bug", "feature")
    ],
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_workflows_and_forms_follow_their_schema(schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, *map(str, SCHEMAS[schema])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_workflows_call_commands_that_the_makefile_has() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called: set[str] = set()
    for file in SCHEMAS["github-workflows"]:
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            for step in job["steps"]:
                called |= set(re.findall(r"^make ([a-z-]+)", step.get("run", ""), re.MULTILINE))
    assert called >= {"lint", "docs"}
    assert called <= targets


def test_the_documentation_builds_and_every_link_and_anchor_leads_somewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {file.stem for file in (ROOT / "docs").glob("*.md")} - {"index"}
    assert pages <= {file.parent.name for file in tmp_path.rglob("index.html")}


def test_links_of_the_files_beside_the_documentation_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / name).read_text())
        assert [link for link in links if not (ROOT / link).exists()] == [], name


def test_the_oldest_python_is_tested() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "checks.yml").read_text())["jobs"]
    versions = jobs["tests"]["strategy"]["matrix"]["python"]
    assert PROJECT["project"]["requires-python"] == f">={versions[0]}"


def test_hooks_run_tools_that_are_installed() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = [hook["entry"].split()[0] for hook in hooks]
    assert all(tool.startswith(".venv/bin/") for tool in tools)
    missing = [tool for tool in tools if not (SCRIPTS / Path(tool).name).exists()]
    assert missing == []


def test_every_command_of_the_makefile_is_explained() -> None:
    text = (ROOT / "Makefile").read_text()
    listed = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())  # type: ignore[index]
    assert set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)) == listed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "--no-deps --require-hashes -r docker/torch.lock"),
        (
            {"TORCH_INDEX": "https://wheels.example.org/cpu"},
            r"torch==[\d.]+ --index-url https://wheels.example.org/cpu",
        ),
        ({"PIP_FIND_LINKS": "/wheels"}, r"torch==[\d.]+ "),
    ],
)
def test_setup_takes_torch_by_hash_unless_another_build_is_named(
    given: dict[str, str], expected: str, tmp_path: Path
) -> None:
    """Other builds are not those of the lock: of another index, or in a folder that pip knows of."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "TORCH_"))
    }
    command = [
        "make",
        "-n",
        "-C",
        str(ROOT),
        "setup",
        f"VENV={tmp_path / 'venv'}",
        f"PYTHON={sys.executable}",
    ]
    environment = ours | {"PIP_CONFIG_FILE": os.devnull} | given
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    [line] = [line for line in done.stdout.splitlines() if re.search(r"torch(==|\.lock)", line)]
    assert re.search(rf" {expected}$", line), line


def test_setup_names_the_python_it_wants(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexec " + sys.executable + ' -c "import sys; sys.version_info = (3, 9); $2"\n')
    old.chmod(0o755)
    command = ["make", "-C", str(ROOT), "setup", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Python 3.9 found, 3.11 or later wanted" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_every_test_that_the_threats_name_exists() -> None:
    named = re.findall(
        r"`((?:integration|security|service|worker|model|docker)/[a-z/_]+)`", SECURITY.read_text()
    )
    assert len(named) > 30
    assert {name for name in named if not (ROOT / "tests" / f"{name}.py").exists()} == set()
