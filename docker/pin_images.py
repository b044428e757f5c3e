"""`make pin-images`: pin every image that this project takes from elsewhere to the digest its tag has now.

A reference `name:tag` becomes `name:tag@sha256:…` wherever it is named; run again, it renews the digests.
Needs Docker with buildx, and a network that reaches the registries.
"""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    "docker/*.Dockerfile",
    ".devcontainer/Dockerfile",
    "docker-compose.yml",
    "deploy/kubernetes/*/*.yaml",
)
# The bases of our images, and the servers. Images that are built here have no tag where they are named.
REFERENCE = re.compile(
    r"^(?P<before>ARG BASE=|FROM |\s*image: )(?P<tag>[\w./-]+:[\w.-]+)(@sha256:[0-9a-f]{64})?(?=\s|$)",
    re.MULTILINE,
)


@cache
def digest(tag: str) -> str:
    command = ["docker", "buildx", "imagetools", "inspect", tag, "--format", "{{.Manifest.Digest}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own files
    except FileNotFoundError:
        sys.exit("docker is not installed: it looks up the digests")
    found = done.stdout.strip()
    if done.returncode or not re.fullmatch("sha256:[0-9a-f]{64}", found):
        sys.exit(f"The digest of {tag} was not found, nothing is changed: {done.stderr.strip() or found}")
    return found


def main(root: Path) -> None:
    texts = {path: path.read_text() for pattern in FILES for path in sorted(root.glob(pattern))}
    pinned = {
        path: REFERENCE.sub(lambda match: f"{match['before']}{match['tag']}@{digest(match['tag'])}", text)
        for path, text in texts.items()
    }
    for path, text in pinned.items():
        if text != texts[path]:
            path.write_text(text)
            tags = ", ".join(match["tag"] for match in REFERENCE.finditer(text))
            sys.stdout.write(f"{path.relative_to(root)}: {tags}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
