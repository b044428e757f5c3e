"""A Dockerfile as a list of instructions, and the build context that .dockerignore leaves."""

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from tests.docker.compose import ROOT


@dataclass(frozen=True)
class Instruction:
    keyword: str
    text: str
    stage: int


class Dockerfile:
    def __init__(self, name: str) -> None:
        source = (ROOT / "docker" / name).read_text()
        lines = [line for line in source.splitlines() if line.strip() and not line.startswith("#")]
        joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
        self.instructions: list[Instruction] = []
        stage = -1
        for line in joined.splitlines():
            keyword, text = line.split(maxsplit=1)
            stage += keyword == "FROM"
            self.instructions.append(Instruction(keyword, text, stage))
        self.targets = re.findall(r"^FROM \S+ AS (\w+)$", joined, re.MULTILINE)

    def all(self, keyword: str) -> list[str]:
        return [entry.text for entry in self.instructions if entry.keyword == keyword]

    def last(self, keyword: str) -> str:
        return self.all(keyword)[-1]

    def position(self, keyword: str, start: str) -> int:
        """Of the only instruction `keyword` whose text begins with `start`."""
        [place] = [
            number
            for number, entry in enumerate(self.instructions)
            if entry.keyword == keyword and entry.text.startswith(start)
        ]
        return place

    def command(self, keyword: str) -> list[str]:
        """The exec form of CMD, or of the command within HEALTHCHECK."""
        return [str(word) for word in json.loads(self.last(keyword)[self.last(keyword).index("[") :])]

    def environment(self) -> dict[str, str]:
        """Every ENV of every stage; a later one wins."""
        return dict(pair.split("=", 1) for text in self.all("ENV") for pair in shlex.split(text))

    def arguments(self) -> dict[str, str]:
        return dict((text + "=").split("=")[:2] for text in self.all("ARG"))

    def copies(self) -> list[tuple[list[str], str]]:
        """Sources and target of every COPY out of the build context."""
        words = [text.split() for text in self.all("COPY") if not text.startswith("--from=")]
        return [(line[:-1], line[-1]) for line in words]

    def assemble(self, app: Path) -> None:
        """Copy into `app` what the last stages copy into their working directory."""
        for sources, target in self.copies():
            for source in [] if target.startswith("/") else sources:
                for path in files(source):
                    place = app / path
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / path, place)


def is_sent(path: str) -> bool:
    """Whether the builder gets it: the last line of .dockerignore that names the file or a folder of it."""
    sent = True
    parts = Path(path).parts
    candidates = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if pattern and not pattern.startswith("#"):
            bare = pattern.removeprefix("**/")
            deep = bare != pattern
            names = [candidate.rsplit("/", 1)[-1] if deep else candidate for candidate in candidates]
            if any(fnmatch(name, bare) and name.count("/") == bare.count("/") for name in names):
                sent = line.startswith("!")
    return sent


def files(source: str) -> list[str]:
    """The files that COPY finds under `source`, relative to the root."""
    path = ROOT / source
    found = [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]
    names = [entry.relative_to(ROOT).as_posix() for entry in found]
    return [name for name in names if is_sent(name)]
