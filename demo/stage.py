"""The processes of one run: three models and the proxy, started, asked about, and stopped."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from .classifiers import KINDS, accuracy, flowers, split, train
from .lineup import Lineup
from .processes import Failed, Process, free_port

CONFIG = Path(__file__).with_name("understudy.yaml")
UNDERSTUDY = str(Path(sys.executable).with_name("understudy"))
PORTS = {"ingress": 7080, "admin": 7081, "stable": 9001, "canary": 9002, "next": 9003}
"""The ports of the configuration; one that somebody has is exchanged for a free one."""


class Stage:
    """What runs. Mutable: `processes` in the order in which they started."""

    def __init__(
        self,
        lineup: Lineup,
        folder: Path,
        session: aiohttp.ClientSession,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`environment` is added to that of every process."""
        self.environment = environment
        self.lineup = lineup
        self.folder = folder
        self.session = session
        self.processes: list[Process] = []
        taken: set[int] = set()
        self.ports = {name: free_port(wanted, taken) for name, wanted in PORTS.items()}

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def pid(self, name: str) -> int:
        return next(process.pid for process in self.processes if process.name == name)

    async def start_models(self) -> None:
        """Start all models at once and wait until they are loaded."""
        print(f"Models: {self.lineup.title}")
        if self.lineup.models[0].command[0] == sys.executable:
            _print_accuracy()
        started = []
        for model in self.lineup.models:
            command = [*model.command, "--port", str(self.ports[model.backend])]
            started.append(await Process.start(model.backend, command, self.folder, self.environment))
            self.processes.append(started[-1])
        for model, process in zip(self.lineup.models, started, strict=True):
            took = await process.answers(self.session, self.url(model.backend) + model.ready)
            where = f"{self.url(model.backend)}  pid {process.pid}"
            print(f"  {model.backend:6}  version {model.version}  {where}  {model.what}, ready after {took:.1f} s")

    async def start_proxy(self) -> None:
        """Start Understudy with demo/understudy.yaml, its ports exchanged where they are taken."""
        text = CONFIG.read_text()
        for name, port in PORTS.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.ports[name]}")
        config = self.folder / "understudy.yaml"
        config.write_text(text)
        process = await Process.start(
            "understudy", [UNDERSTUDY, "run", "-c", str(config)], self.folder, self.environment
        )
        self.processes.append(process)
        took = await process.answers(self.session, self.url("admin") + "/readyz")
        print("Proxy: understudy run -c demo/understudy.yaml")
        where = f"{self.url('ingress')}  admin {self.url('admin')}  pid {process.pid}"
        print(f"  {where}  ready after {took:.1f} s\n")

    async def told(self, what: str) -> dict[str, Any]:
        """The JSON that the admin API answers at this path."""
        async with self.session.get(self.url("admin") + what) as response:
            answer: dict[str, Any] = await response.json()
            return answer

    async def print_output(self, *arguments: str) -> None:
        """Run an understudy command and print it with what it says. Raises Failed unless it ends with 0."""
        print(f"$ understudy {shlex.join(arguments)}")
        output, status = await _output([UNDERSTUDY, *arguments], self.url("admin"))
        print(output.rstrip() + "\n", flush=True)
        if status != 0:
            raise Failed(f"understudy {arguments[0]} ended with {status}")

    def logs(self) -> str:
        """The last lines that each process wrote."""
        return "\n".join(f"  {process.name}:\n{process.log_tail()}" for process in self.processes)

    async def stop(self) -> bool:
        """Stop the proxy, then the models; say of each how it ended. True when all ended well."""
        print("Stopping:")
        well = True
        while self.processes:
            process = self.processes.pop()
            status = await process.stop()
            print(f"  {process.name} (pid {process.pid}) ended with status {status}", flush=True)
            if status not in (0, -signal.SIGTERM):
                print(process.log_tail())
                well = False
        return well


def _print_accuracy() -> None:
    training, test = split(flowers())
    logistic, bayes = (accuracy(train(kind, training), test) for kind in KINDS)
    print(
        f"  logistic regression names {logistic:.1%} and naive Bayes {bayes:.1%} of {len(test)} flowers not trained on"
    )


async def _output(command: Sequence[str], admin: str) -> tuple[str, int | None]:
    environment = {**os.environ, "UNDERSTUDY_ADMIN": admin}
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
    output, _ = await process.communicate()
    return output.decode(), process.returncode
