"""What the tests of downloads share."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Host:
    """A server of one file that breaks the line after so many bytes, and keeps a log of ranges asked for."""

    def __init__(self, content: bytes, name: str) -> None:
        self.content, self.tag = content, '"first"'
        self.breaks: list[int] = []
        self.ranges: list[str | None] = []
        self.status: int | None = None
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if host.status:
                    self.send_error(host.status)
                    return
                asked = self.headers.get("Range")
                host.ranges.append(asked)
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
                if asked and self.headers.get("If-Range") != host.tag:
                    asked, start = None, 0
                if asked and start >= len(host.content):
                    self.send_error(416)
                    return
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(host.content) - start))
                self.send_header("ETag", host.tag)
                self.end_headers()
                end = start + host.breaks.pop(0) if host.breaks else len(host.content)
                self.wfile.write(host.content[start:end])

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/files/{name}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
