"""Each form of input over HTTP, up to the sequence that is stored for the worker."""

import http.server
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import laspy
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.core.sequences.sequence import DEFAULT_LIMITS, PointCloudSequence, ReadOptions, read_sequence
from tests.integration.service_processes import Gateway, running
from tests.service.core.readers.meshes import ball, obj, ply, triangles

Files = dict[str, bytes]
RNG = np.random.default_rng(0)
CLOUDS: Any = RNG.normal(size=(3, 40, 3)).astype(np.float32)  # [T, N, 3]
VERTICES, POLYGONS = ball()
FACES = triangles(POLYGONS)


@pytest.fixture(scope="module")
def gateway(server_env: dict[str, str]) -> Iterator[Gateway]:
    """A gateway that may fetch from this machine."""
    with running(Gateway(server_env | {"OFLOW_WEBHOOK_LOOPBACK": "true"})) as process:
        yield process


def send(gateway: Gateway, files: Files, **options: Any) -> httpx.Response:
    parts = [("file", (name, data)) for name, data in files.items()]
    return gateway.client.post("/reconstruct", files=parts, data=options)


def stored(gateway: Gateway, response: httpx.Response) -> PointCloudSequence:
    """The sequence that a worker would get."""
    assert response.status_code == 202, response.text
    content = gateway.client.get(f"/jobs/{response.json()['id']}/input").raise_for_status().content
    return read_sequence(io.BytesIO(content), DEFAULT_LIMITS.stored)


def zipped(files: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def pcd(points: NDArray[np.float32]) -> bytes:
    header = f"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH {len(points)}\nHEIGHT 1\n"
    return f"{header}POINTS {len(points)}\nDATA binary\n".encode() + points.tobytes()


def las(points: NDArray[Any], ending: str) -> bytes:
    header = laspy.LasHeader(point_format=2, version="1.2")
    header.scales, header.offsets = [1e-4] * 3, points.min(axis=0)
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = points.T
    out = io.BytesIO()
    cloud.write(out, do_compress=ending == "laz")
    return out.getvalue()


def text(points: NDArray[Any], mark: str = " ") -> bytes:
    return "".join(mark.join(map(repr, row)) + "\n" for row in points.tolist()).encode()


FORMS: dict[str, Callable[[Any], bytes]] = {
    "ply": lambda points: ply(points, [], "binary_little_endian"),
    "pcd": pcd,
    "xyz": text,
    "txt": text,
    "csv": lambda points: b"x,y,z\n" + text(points, ","),
    "las": lambda points: las(points, "las"),
    "laz": lambda points: las(points, "laz"),
    "npy": npy,
    "npz": lambda points: npz(points=points),
    "bin": lambda points: np.concatenate([points, points[:, :1]], axis=1).tobytes(),
    "obj": lambda points: obj(points, []).encode(),
    "off": lambda points: f"OFF\n{len(points)} 0 0\n".encode() + text(points),
}


@pytest.mark.parametrize("ending", FORMS)
def test_frames_in_files(gateway: Gateway, any_model: str, ending: str) -> None:
    files = {f"scan {i}.{ending}": FORMS[ending](points) for i, points in enumerate(CLOUDS)}
    sequence = stored(gateway, send(gateway, files, model=any_model))
    np.testing.assert_allclose(np.stack(sequence.points), CLOUDS, atol=1e-4)
    assert not sequence.timed


@pytest.mark.parametrize("kind", ["obj", "off", "stl", "ply"])
def test_frames_that_are_meshes(gateway: Gateway, any_model: str, kind: str) -> None:
    def mesh(shift: float) -> bytes:
        moved = VERTICES + np.array([shift, 0, 0])
        if kind == "obj":
            return obj(moved, POLYGONS).encode()
        if kind == "off":
            rows = "".join(f"{len(face)} {' '.join(map(str, face))}\n" for face in POLYGONS)
            return f"OFF\n{len(moved)} {len(POLYGONS)} 0\n".encode() + text(moved) + rows.encode()
        if kind == "ply":
            return ply(moved, POLYGONS, "binary_big_endian")
        records = np.zeros(len(FACES), [("n", "<f4", 3), ("c", "<f4", (3, 3)), ("a", "<u2")])
        records["c"] = moved[np.array(FACES)]
        return bytes(80) + len(FACES).to_bytes(4, "little") + records.tobytes()

    files = {f"{i}.{kind}": mesh(0.1 * i) for i in range(3)}
    surface = stored(gateway, send(gateway, files, model=any_model))
    assert surface.points_per_frame == (8192,) * 3
    np.testing.assert_allclose(surface.points[2] - surface.points[0], [[0.2, 0, 0]] * 8192, atol=1e-5)
    vertices = stored(gateway, send(gateway, files, model=any_model, sample="vertices"))
    assert vertices.points_per_frame == (len(VERTICES),) * 3


def test_depth_images_with_their_camera(gateway: Gateway, any_model: str) -> None:
    camera = {"fx": 50.0, "fy": 40.0, "cx": 8.0, "cy": 6.0, "depth_scale": 1000, "depth_max": 5.0}
    files = {"camera.json": json.dumps(camera).encode()}
    for index in range(3):
        depth = np.zeros((12, 16), np.uint16)
        depth[2:10, 3:13] = 2000 + 100 * index
        depth[0, 0] = 60_000  # beyond depth_max
        out = io.BytesIO()
        Image.fromarray(depth).save(out, "PNG")
        files[f"130503110{index}.500000.png"] = out.getvalue()
    sequence = stored(gateway, send(gateway, files, model=any_model))
    assert sequence.points_per_frame == (80, 80, 80)
    np.testing.assert_allclose(
        sequence.points[1][0], [(3 - 8) * 2.1 / 50, (6 - 2) * 2.1 / 40, -2.1], rtol=1e-5
    )
    np.testing.assert_allclose(sequence.times, [0, 1, 2])
    assert sequence.corresponding is False  # though frames have as many points, of the same pixels
    images = [np.asarray(Image.open(io.BytesIO(data))) for name, data in files.items() if ".png" in name]
    arrays = {"depth": np.stack(images), "times": np.arange(3.0)} | {
        k: np.array(v) for k, v in camera.items()
    }
    same = stored(gateway, send(gateway, {"depth.npz": npz(**arrays)}, model=any_model))
    np.testing.assert_array_equal(same.points, sequence.points)
    assert (same.times.tolist(), same.corresponding) == ([0, 1, 2], False)


FRAMES = {f"{i:08d}.npz": npz(points=p, loc=np.zeros(3), scale=1.0, normals=p) for i, p in enumerate(CLOUDS)}


@pytest.mark.parametrize(
    "files",
    [
        {"pcl_seq/": b""} | {f"pcl_seq/{name}": data for name, data in FRAMES.items()},
        FRAMES | {"__MACOSX/._00000000.npz": bytes(120), ".DS_Store": bytes(100)},
        {f"a/läufer/scan/{name}": data for name, data in FRAMES.items()}
        | {"a/README.txt": b"x", "a/läufer/Thumbs.db": b"x"},
    ],
)
def test_a_zip_of_a_folder(gateway: Gateway, any_model: str, files: Files) -> None:
    sequence = stored(gateway, send(gateway, {"take.zip": zipped(files)}, model=any_model))
    np.testing.assert_allclose(np.stack(sequence.points), CLOUDS, atol=1e-6)
    assert sequence.normals is not None


def test_numbers_of_frames_are_their_times(gateway: Gateway, any_model: str) -> None:
    numbers = [i for i in range(27) if not 3 <= i < 13]  # the recorder lost ten frames
    files = {f"{i:08d}.ply": ply(CLOUDS[0] + i, [], "ascii") for i in numbers}
    for options, rate in (({}, 24), ({"fps": 10}, 10)):
        sequence = stored(gateway, send(gateway, {"a.zip": zipped(files)}, model=any_model, **options))
        np.testing.assert_allclose(sequence.times, np.array(numbers) / rate)
    rows = {"points": np.concatenate([CLOUDS[0] + i for i in numbers]), "frame": np.repeat(numbers, 40)}
    sequence = stored(gateway, send(gateway, {"a.npz": npz(**rows)}, model=any_model))
    np.testing.assert_allclose(sequence.times, np.array(numbers) / 24)


def test_points_without_coordinates_are_left_out_on_request(gateway: Gateway, any_model: str) -> None:
    points = CLOUDS.copy()
    points[1, 4] = np.nan
    files = {f"{i}.xyz": text(cloud) for i, cloud in enumerate(points)}
    refused = send(gateway, files, model=any_model)
    assert refused.status_code == 422
    [fault] = refused.json()["errors"]
    assert fault["found"] == "nan in frame 1, row 4, and 2 more"
    assert "cleanup drop_invalid" in fault["wanted"]
    taken = send(gateway, files, model=any_model, cleanup="drop_invalid")
    assert taken.status_code == 202, taken.text
    content = gateway.client.get(f"/jobs/{taken.json()['id']}/input").raise_for_status().content
    kept = read_sequence(io.BytesIO(content), DEFAULT_LIMITS.stored, ReadOptions(drop_invalid=True))
    np.testing.assert_array_equal(np.stack(kept.points).astype(np.float32), points)
    points[1:, 9:] = np.nan
    short = send(gateway, {"a.npz": npz(points=points)}, model=any_model, cleanup="drop_invalid")
    found = short.json()["errors"][0]["found"]
    assert found == "8 valid points of 40 in frame 1, and 1 more such frames"


def test_a_frame_without_points_keeps_its_place(gateway: Gateway, any_model: str) -> None:
    files = {f"{i}.xyz": text(cloud) if i != 1 else b"" for i, cloud in enumerate(CLOUDS)}
    response = send(gateway, files, model=any_model)
    assert stored(gateway, response).points_per_frame == (40, 0, 40)
    assert response.json()["input"]["points"] == [0, 40]


def test_times_in_nanoseconds(gateway: Gateway, any_model: str) -> None:
    stamps = 1_616_161_616_123_456_789 + np.array([0, 33_333_333, 100_000_000])
    upload = npz(points=CLOUDS, times=stamps)
    sequence = stored(gateway, send(gateway, {"a.npz": upload}, model=any_model))
    np.testing.assert_allclose(sequence.times, [0, 0.033333333, 0.1], atol=1e-12)
    files = {f"{stamp}.pcd": pcd(points) for stamp, points in zip(stamps, CLOUDS, strict=True)}
    sequence = stored(gateway, send(gateway, files, model=any_model))
    np.testing.assert_allclose(sequence.times, [0, 0.033333333, 0.1], atol=1e-12)


def header(words: str) -> bytes:
    line = words.ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + len(line).to_bytes(2, "little") + line.encode() + CLOUDS.tobytes()


@pytest.mark.parametrize(
    "words",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 40L, 3L), }",
        '{"descr": "<f4", "fortran_order": False, "shape": (3, 40, 3)}',
        "{'descr': 'float32', 'fortran_order': False, 'shape': (3, 40, 3,)}",
    ],
)
def test_arrays_that_numpy_reads(gateway: Gateway, any_model: str, words: str) -> None:
    upload = zipped({"points.npy": header(words)})
    assert np.load(io.BytesIO(upload))["points"].shape == (3, 40, 3)
    sequence = stored(gateway, send(gateway, {"a.npz": upload}, model=any_model))
    np.testing.assert_array_equal(np.stack(sequence.points), CLOUDS)
    alone = stored(gateway, send(gateway, {"a.npy": header(words)}, model=any_model))
    np.testing.assert_array_equal(np.stack(alone.points), CLOUDS)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.ply": b"ply\n"}, "is a single frame, and not a sequence"),
        ({"0.ply": b"x", "1.obj": b"x"}, "1 .ply, 1 .obj"),
        ({"0.ply": b"x", "1.mp4": b"x"}, "'1.mp4' (1 .ply, 1 .mp4)"),
        ({"a/0.ply": b"x", "a/1.ply": b"x", "b/0.ply": b"x"}, "2 in 'a', 1 in 'b'"),
        ({"0.png": b"x", "1.png": b"x"}, "0 JSON files"),
        ({"README.md": b"x", ".DS_Store": b"x"}, "contains no frames"),
    ],
)
def test_refusals_say_what_was_found_and_what_is_accepted(
    gateway: Gateway, any_model: str, files: Files, words: str
) -> None:
    answer = send(gateway, files, model=any_model)
    assert answer.status_code == 422, answer.text
    [fault] = answer.json()["errors"]
    assert words in f"{fault['message']} {fault['found']}"
    assert fault["wanted"]


def test_lists_show_what_an_upload_was_called(gateway: Gateway, any_model: str) -> None:
    upload = npz(points=CLOUDS)
    frames = {f"walk/{i}.ply": ply(points, [], "ascii") for i, points in enumerate(CLOUDS)}
    for files, options, name in (
        ({"take 7.npz": upload}, {}, "take 7.npz"),
        ({"../../etc/take.npz": upload}, {}, "take.npz"),
        ({"a.npz": upload}, {"name": "Läufer"}, "Läufer"),
        (frames, {}, "walk"),
    ):
        assert send(gateway, files, model=any_model, **options).json()["input"]["name"] == name
        assert gateway.client.get("/jobs?limit=1").json()["jobs"][0]["input"]["name"] == name


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A server with a sequence, one that is too large, some that are there once, and redirects."""
    fetched = set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = npz(points=CLOUDS) if self.path != "/bad" else b"nothing"
            if self.path.startswith("/to/"):
                self.send_response(302)
                self.send_header("Location", self.path[3:] if self.path != "/to/loop" else "/to/loop")
                self.end_headers()
                return
            once = self.path.startswith("/once/") and self.path not in fetched
            fetched.add(self.path)
            if once:
                time.sleep(0.3)  # others ask meanwhile
            self.send_response(200 if once or self.path in ("/walk.npz", "/bad") else 404)
            self.send_header("Content-Length", str(len(content) if self.path != "/large" else 10**12))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("path", ["/walk.npz", "/to/walk.npz"])
def test_an_upload_is_fetched_from_a_url(gateway: Gateway, any_model: str, site: str, path: str) -> None:
    body = {"source_url": site + path, "model": any_model}
    for answer in (
        gateway.client.post("/reconstruct", json=body),
        gateway.client.post(
            "/reconstruct", files={"source_url": (None, body["source_url"])}, params={"model": any_model}
        ),
    ):
        sequence = stored(gateway, answer)
        np.testing.assert_array_equal(np.stack(sequence.points), CLOUDS)
        assert answer.json()["input"]["name"] == "walk.npz"


def test_a_repeated_request_fetches_nothing(gateway: Gateway, any_model: str, site: str) -> None:
    body = {"source_url": f"{site}/once/{uuid4()}", "model": any_model}
    headers = {"Idempotency-Key": str(uuid4())}
    first, again = (gateway.client.post("/reconstruct", json=body, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202), again.text
    assert first.json()["id"] == again.json()["id"]
    changed = gateway.client.post("/reconstruct", json=body | {"name": "other"}, headers=headers)
    assert changed.json()["code"] == "idempotency_key_reused"


def test_concurrent_requests_fetch_once(gateway: Gateway, any_model: str, site: str) -> None:
    body = {"source_url": f"{site}/once/{uuid4()}", "model": any_model}
    headers = {"Idempotency-Key": str(uuid4())}
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda _: gateway.client.post("/reconstruct", json=body, headers=headers), range(12))
        )
    created = {answer.json()["id"] for answer in answers if answer.status_code == 202}
    assert len(created) == 1
    others = {(a.status_code, a.json()["code"]) for a in answers if a.status_code != 202}
    assert others == {(409, "idempotency_in_flight")}
    assert gateway.client.post("/reconstruct", json=body, headers=headers).json()["id"] in created


@pytest.mark.parametrize("path", ["missing", "bad"])
def test_a_failed_fetch_frees_its_key(gateway: Gateway, any_model: str, site: str, path: str) -> None:
    body = {"source_url": f"{site}/{path}", "model": any_model}
    headers = {"Idempotency-Key": str(uuid4())}
    refused = [gateway.client.post("/reconstruct", json=body, headers=headers) for _ in range(2)]
    assert {answer.json()["code"] for answer in refused} == {
        "source_unavailable" if path == "missing" else "unsupported_media"
    }


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("SITE/missing", "source_unavailable", "answered 404"),
        ("SITE/to/loop", "source_unavailable", "redirected more than 3 times"),
        ("SITE/to/http://10.0.0.1/a", "source_unavailable", "answered 404|redirected"),
        ("https://10.0.0.1/a.npz", "source_unavailable", "non-public address"),
        ("http://169.254.169.254/latest", "source_unavailable", "non-public address"),
        ("https://[::ffff:10.0.0.1]/a.npz", "source_unavailable", "non-public address"),
        ("ftp://example.com/a.npz", "invalid_options", "must start with https"),
        ("https://user:secret@example.com/a.npz", "invalid_options", "user name or password"),
        (7, "invalid_options", "is not a string"),
    ],
)
def test_other_urls_are_refused(
    gateway: Gateway, any_model: str, site: str, url: Any, code: str, words: str
) -> None:
    body = {"source_url": url.replace("SITE", site) if isinstance(url, str) else url, "model": any_model}
    answer = gateway.client.post("/reconstruct", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert any(word in answer.json()["detail"] for word in words.split("|"))


def test_a_fetched_file_is_bounded(gateway: Gateway, any_model: str, site: str) -> None:
    answer = gateway.client.post("/reconstruct", json={"source_url": f"{site}/to/large", "model": any_model})
    assert answer.status_code in (413, 422), answer.text


def test_head_wherever_get_works(gateway: Gateway, any_model: str) -> None:
    job = send(gateway, {"a.npz": npz(points=CLOUDS)}, model=any_model).json()["id"]
    for path in ("/", "/jobs", f"/jobs/{job}", f"/jobs/{job}/input", "/models", "/livez", "/openapi.json"):
        got, head = gateway.client.get(path), gateway.client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers["content-type"] == got.headers["content-type"]
        assert head.headers.get("content-length") == got.headers.get("content-length")
    events = gateway.client.head(f"/jobs/{job}/events")
    assert (events.status_code, events.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert gateway.client.head(f"/jobs/{job}/result").status_code == 409
    assert gateway.client.head("/nowhere").status_code == 404
    assert gateway.client.post(f"/jobs/{job}").headers["allow"] == "DELETE, GET, HEAD"


def test_a_submission_can_wait_for_the_end(gateway: Gateway, any_model: str) -> None:
    files = {"file": ("a.npz", npz(points=CLOUDS))}
    answer = gateway.client.post(
        "/reconstruct", files=files, data={"model": any_model}, headers={"Prefer": "respond-async, wait=1"}
    )
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=1")
    assert answer.headers["retry-after"] == "1"
    ended: list[httpx.Response] = []

    def submit() -> None:
        key = {"Prefer": "wait=30", "Idempotency-Key": "waits-for-the-end"}
        ended.append(gateway.client.post("/reconstruct", files=files, data={"model": any_model}, headers=key))

    waiting = threading.Thread(target=submit)
    waiting.start()
    while not (jobs := gateway.client.get("/jobs?state=queued&limit=1").json()["jobs"]) or (
        jobs[0]["id"] == answer.json()["id"]
    ):
        pass
    gateway.client.delete(f"/jobs/{jobs[0]['id']}")
    waiting.join(20)
    assert (ended[0].status_code, ended[0].json()["state"]) == (200, "canceled")
