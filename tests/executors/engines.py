"""A Docker engine and a Kubernetes cluster whose containers are processes of this machine.

Both are servers on loopback, and speak as much HTTP as the clients of the executors ask for.
"""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from executors.packaged import Image


@dataclass(frozen=True)
class Container:
    """A container, or the pod of a Kubernetes job.

    Args:
        name: Its name.
        spec: What it was asked to be.
        process: Its process.
        log: What it has printed.
    """

    name: str
    spec: Mapping[str, Any]
    process: subprocess.Popen[bytes]
    log: Path


class Engine(ThreadingHTTPServer):
    """What runs containers; a kind of engine answers the requests of its clients.

    Args:
        image: The image of all containers.
    """

    def __init__(self, image: Image) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.image = image
        self.created: dict[str, Mapping[str, Any]] = {}
        self.containers: dict[str, Container] = {}
        self.not_understood: list[str] = []

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a container that has been created."""
        log = self.image.workdir / f"{name}.log"
        process = self.image.start(command, environment, log)
        self.containers[name] = Container(name, self.created[name], process, log)

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Any:
        """Answer a request with JSON, with text, or with ``None`` where it makes no sense."""
        raise NotImplementedError


AnEngine = TypeVar("AnEngine", bound=Engine)


@contextmanager
def serve(engine: AnEngine) -> Iterator[AnEngine]:
    """Let an engine answer, and stop it with all of its containers after the block."""
    thread = threading.Thread(target=engine.serve_forever)
    thread.start()
    try:
        yield engine
    finally:
        engine.shutdown()
        thread.join()
        for container in engine.containers.values():
            if container.process.poll() is None:
                os.killpg(container.process.pid, signal.SIGKILL)
                container.process.wait()
        engine.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Engine

    def _answer(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        found = self.server.answer(self.command, url.path, query, body)
        if found is None:
            self.server.not_understood.append(f"{self.command} {self.path}")
            self.send_error(404)
            return
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        kind = "text/plain" if isinstance(found, bytes) else "application/json"
        self.send_response(200 if content else 204)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815  # the names are http.server's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing."""


class Docker(Engine):
    """A Docker engine."""

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Any:
        name, _, action = re.sub(r"^(/v1\.47)?/(containers/)?", "", path).partition("/")
        match method, name, action:
            case "GET", "version", "":
                return {"ApiVersion": "1.47"}
            case "POST", "create", "":
                name = query.get("name", f"container_{len(self.created)}")
                self.created[name] = body
                return {"Id": name, "Warnings": []}
            case "GET", _, "json":
                return self._state(name)
            case "POST", _, "start":
                spec = self.created[name]
                self.run(name, spec["Cmd"], dict(one.split("=", 1) for one in spec["Env"]))
                return b""
            case _, _, "wait" | "logs":
                exit_code = self.containers[name].process.wait()
                return {"StatusCode": exit_code} if action == "wait" else self._logs(name)
        return None

    def _logs(self, name: str) -> bytes:
        """What a container has printed to its standard output, as a frame of Docker's."""
        text = self.containers[name].log.read_bytes()
        return struct.pack(">BxxxL", 1, len(text)) + text

    def _state(self, name: str) -> Any:
        container = self.containers.get(name)
        running = container is not None and container.process.poll() is None
        status = "created" if container is None else "running" if running else "exited"
        return {
            "Id": name,
            "State": {"Status": status},
            "Config": {"Tty": False},
            "HostConfig": {"LogConfig": {"Type": "json-file"}},
        }


class Kubernetes(Engine):
    """The API server of a Kubernetes cluster; a job is known by its name alone."""

    def kubeconfig(self) -> str:
        """The configuration of a client."""
        return json.dumps(
            {
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                "clusters": [{"name": "here", "cluster": {"server": f"http://{self.address}"}}],
                "users": [{"name": "me", "user": {}}],
            }
        )

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Any:
        found = re.fullmatch(r"/api(?:s/batch)?/v1/namespaces/[^/]+/(jobs|pods)/?(.*)", path)
        resource, place = found.groups() if found else ("", "")
        selected = query.get("labelSelector") or query.get("fieldSelector") or ""
        name, _, part = (place or selected.partition("=")[2]).partition("/")
        match method, resource, part:
            case "POST", "jobs", "":
                return self._create(body)
            case "GET", "jobs", "" if not place:
                return {"items": [self.created[name]]}
            case "GET", "jobs", "status":
                failed = self.containers[name].process.wait() != 0
                return {**self.created[name], "status": {"failed" if failed else "succeeded": 1}}
            case "GET", "pods", "" if not place:
                return {"items": [self._pod(name)]}
            case "GET", "pods", "log":
                return self.containers[name].log.read_bytes()
        return None

    def _create(self, job: Any) -> Any:
        name = job["metadata"]["name"]
        (container,) = job["spec"]["template"]["spec"]["containers"]
        self.created[name] = job
        given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        self.run(name, container["args"], given)
        return job

    def _pod(self, name: str) -> Any:
        exit_code = self.containers[name].process.wait()
        return {
            "metadata": {"name": name},
            "status": {
                "containerStatuses": [
                    {
                        "name": "dagster",
                        "image": "",
                        "imageID": "",
                        "ready": False,
                        "restartCount": 0,
                        "state": {"terminated": {"exitCode": exit_code}},
                    }
                ]
            },
        }


class BrokenKubernetes(Kubernetes):
    """A cluster in which each pod dies as soon as it is started."""

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:  # noqa: ARG002
        super().run(name, ["no_such_program"], {})
