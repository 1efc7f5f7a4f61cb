"""What `docker compose up` starts of a project's compose file, as processes on loopback."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import chown, rmtree
from typing import Any

import pytest
import yaml

from live.server import free_port, stop, until
from production.image import Stage

PASSWORD = "no secret"  # noqa: S105
CONTAINER_PORTS = {"webserver": "3000", "code-server": "4000", "postgres": "5432"}


@dataclass
class Deployment:
    """The services of a compose file, with its commands, environment and health checks.

    Args:
        image: The image of the services.
        services: What the compose file says of them.
        ports: The ports that the services have here, by those that they have in containers.
    """

    image: Stage
    services: Mapping[str, Any]
    ports: Mapping[str, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        """Start services, and wait until those that listen do."""
        for name in names:
            with self.log(name).open("ab") as output:
                service = self.services[name]
                self.processes[name] = subprocess.Popen(
                    self._command([*service.get("entrypoint", []), *service["command"]]),
                    cwd=self.image.workdir,
                    env=self.environment(name),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        for name in names:
            until(partial(self._is_up, name), f"{name} to listen", 900)

    def _is_up(self, name: str) -> bool | None:
        status = self.processes[name].poll()
        assert status is None, f"{name} ended with {status}:\n{self.log(name).read_text()}"
        port = self.ports.get(CONTAINER_PORTS.get(name, ""))
        with socket.socket() as client:
            return port is None or client.connect_ex(("127.0.0.1", port)) == 0 or None

    def is_healthy(self, name: str) -> bool:
        """Do a service's health check."""
        check = self.services[name]["healthcheck"]["test"]
        assert check[0] == "CMD"
        return self.run(name, *check[1:]).returncode == 0

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside a service, as `docker compose exec` does."""
        return subprocess.run(
            self._command(command),
            cwd=self.image.workdir,
            env=self.environment(name),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def kill(self, name: str) -> None:
        """End a service's own process, and no other, without a warning."""
        process = self.processes[name]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def crash(self) -> None:
        """End all processes at once, with all that they have started, without a warning."""
        for process in self.processes.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop(self) -> None:
        """End all services, with all that they have started."""
        for process in reversed(self.processes.values()):
            stop(process)

    def log(self, name: str) -> Path:
        """The file with what a service prints."""
        return self.image.root / f"{name}.log"

    def environment(self, name: str) -> dict[str, str]:
        """The environment variables of a service."""
        given = self.services[name]["environment"]
        return {**self.image.variables, **{key: self.here(value) for key, value in given.items()}}

    def here(self, text: str) -> str:
        """A text with addresses of containers as they are here."""
        text = re.sub(r"\b(0\.0\.0\.0|code-server)\b|^postgres$", "127.0.0.1", text)
        return re.sub(r"\b(3000|4000|5432)\b", lambda found: str(self.ports[found[0]]), text)

    def _command(self, command: Sequence[str]) -> list[str]:
        return list(map(self.here, command))  # programs are found by the PATH of the image


@contextmanager
def deploy(image: Stage, compose_file: str) -> Iterator[Deployment]:
    """Start Postgres for the services of a compose file, and stop all of them after the block."""
    compose_file = re.sub(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}", PASSWORD, compose_file)
    services = yaml.safe_load(compose_file.replace("$$", "$"))["services"]
    given = services["postgres"]["environment"]
    ports = {port: free_port() for port in CONTAINER_PORTS.values()}
    deployment = Deployment(image, services, ports)
    workspace = image.workdir / "dagster_home" / "workspace.yaml"
    workspace.write_text(deployment.here(workspace.read_text()))
    with postgres(ports["5432"], given["POSTGRES_USER"], given["POSTGRES_DB"]):
        try:
            yield deployment
        finally:
            deployment.stop()


@contextmanager
def postgres(port: int, user: str, database: str) -> Iterator[None]:
    """Run a Postgres server on loopback, with a database and its owner."""
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    if binaries is None:
        assert not os.environ.get("CI"), "The Debian package postgresql is not installed."
        pytest.skip("The Debian package postgresql is not installed.")
    owner = "postgres" if os.geteuid() == 0 else None  # Postgres does not run as root
    folder = Path(tempfile.mkdtemp())
    data, password = folder / "data", folder / "password"
    password.write_text(PASSWORD)
    for path in (folder, password):
        chown(path, owner, owner) if owner else None
    environment = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGPASSWORD": PASSWORD}
    as_owner: Any = {"cwd": folder, "env": {**os.environ, **environment}, "user": owner}
    quiet: Any = {**as_owner, "stdout": subprocess.DEVNULL}
    initialise = ["--auth=scram-sha-256", f"--pwfile={password}", f"--username={user}", "--no-sync"]
    subprocess.run([binaries / "initdb", *initialise, data], check=True, **quiet)
    options = ["-c", f"unix_socket_directories={folder}", "-c", "fsync=off", "-h", "127.0.0.1"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), *options],
            **as_owner,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        ready = [str(binaries / "pg_isready"), "--quiet", "--username", user]
        until(lambda: subprocess.call(ready, **as_owner) == 0 or None, "Postgres to be ready", 60)
        subprocess.run([binaries / "createdb", "--username", user, database], check=True, **quiet)
        yield
    finally:
        stop(server)
        rmtree(folder)
