"""The code blocks of docs/api.md work as pasted, in order."""

import re
import subprocess
from pathlib import Path
from typing import Any

from service.page.samples import SAMPLES
from tests.integration.service_processes import Gateway, Worker

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "api.md").read_text()


def test_documented_commands_work(gateway: Gateway, worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "service").symlink_to(ROOT / "service")
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    address = str(gateway.client.base_url).rstrip("/")
    assert "URL=http://127.0.0.1:8000" in blocks[0]
    script = "set -eu\n" + "\necho; echo ======\n".join(blocks).replace("http://127.0.0.1:8000", address)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    parts = (part.strip() for part in done.stdout.split("======"))
    _, sent, uploaded, followed, taken, headers, ended = parts
    assert '"frames":33' in sent
    assert '"formats":["glb","obj"]' in uploaded
    states = re.findall(r'"state":"(\w+)"', followed)
    assert states[0] == "succeeded"  # from `Prefer: wait`
    assert states.count("queued") >= 1  # the first event
    assert re.findall(r"^id: (\d+)$", followed, re.MULTILINE)[0] == "1"
    assert '"jobs":[{' in followed
    assert (tmp_path / "knees.glb").read_bytes()[:4] == b"glTF"
    assert taken == "glTF"
    assert (tmp_path / "knees.npz").read_bytes() == SAMPLES["knees"].path.read_bytes()
    assert re.match(r"HTTP/1\.1 200\b", headers)
    assert '"state":"expired"' in ended


def test_documented_signature_check() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert names["is_ours"](secret, headers, b'{"test": 2432232314}')
    assert not names["is_ours"](secret, headers, b'{"test": 2432232315}')
