"""`make screenshots`: MLServer behind the proxy, its traces sent to Phoenix and to MLflow, and a picture of each.

Every process that it starts ends with it. Exit status 0: docs/images/ is new. 1: something failed, and says what.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from ..classifiers import flowers
from ..lineup import LINEUPS, Lineup
from ..load import ask
from ..processes import REPOSITORY, Failed, Process, free_port
from ..questions import classify
from ..stage import Stage
from ..users import EMPLOYEE
from .backends import BACKENDS, Backend, Ports, exported_to, newest_trace, start_of
from .chromium import chromium, pause
from .pictures import show

IMAGES = REPOSITORY / "docs" / "images"
LIMIT_S = 180.0
"""For one backend, all told."""
REQUESTS = 30
"""The first are slower than the models are."""
SPANS = {"phoenix": 5, "mlflow": 3}
"""Of one trace: ours, and in Phoenix those of two MLServers."""
WAIT_MS = {"stable": 10, "canary": 10, "next": 15}
"""Before each prediction, where larger models would compute, so that the shadow is seen to be slower."""
MOST_BYTES = 200_000
WHO = {"POD_NAME": "iris-6f9c", "CONTAINER_NAME": "understudy", "OTEL_RESOURCE_ATTRIBUTES": "host.name=node-1"}
"""So that the pictures do not tell of the machine on which they were taken."""


async def picture(backend: Backend, folder: Path, session: aiohttp.ClientSession) -> bytes:
    """A PNG of one trace as this backend shows it. Raises Failed."""
    taken: set[int] = set()
    ports = Ports(free_port(0, taken), free_port(0, taken))
    stage = Stage(waiting_models(), folder, session, {**WHO, **exported_to(backend, ports)})
    try:
        started = start_of(backend, ports, folder)
        process = await Process.start(backend, started.command, folder, started.environment)
        stage.processes.append(process)
        url = f"http://127.0.0.1:{ports.http}"
        print(f"{backend}: {url}", flush=True)
        await process.answers(session, url + started.ready, within_s=LIMIT_S)
        await stage.start_models()
        await stage.start_proxy()
        for flower in flowers()[:REQUESTS]:
            status, _, body = await ask(session, stage.url("ingress"), classify("a", flower.features), EMPLOYEE)
            if status != 200:
                raise Failed(f"the proxy answered {status}: {body[:200]!r}")
        while (trace_id := await newest_trace(backend, session, url, spans=SPANS[backend])) is None:
            await pause(0.2)
        async with chromium(session, folder) as page:
            await show(backend, page, url, trace_id)
            return await page.picture()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Failed(f"{type(error).__name__} {error}\n{stage.logs()}") from error
    finally:
        await stage.stop()


def waiting_models() -> Lineup:
    """The demo's MLServers with those waits; the last of an option given twice counts."""
    lineup = LINEUPS["mlserver"]
    models = [
        model._replace(command=(*model.command, "--wait-ms", str(WAIT_MS[model.backend]))) for model in lineup.models
    ]
    return lineup._replace(models=tuple(models))


async def _run(backends: Sequence[Backend], images: Path) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    for backend in backends:
        with tempfile.TemporaryDirectory(prefix=f"understudy-{backend}-") as folder:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
                async with asyncio.timeout(LIMIT_S):
                    png = await picture(backend, Path(folder), session)
        if len(png) > MOST_BYTES:
            raise Failed(f"the picture of {backend} has {len(png):,} bytes, more than {MOST_BYTES:,}")
        path = images / f"{backend}.png"
        path.write_bytes(png)
        print(f"{path}: {len(png):,} bytes\n", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo.traces", description="Pictures of traces for docs/.")
    parser.add_argument("backends", nargs="*", choices=[[], *BACKENDS], help="which; all when none is named")
    parser.add_argument("--to", type=Path, default=IMAGES, help="the folder of the pictures")
    options = parser.parse_args(arguments)
    options.to.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(_run(options.backends or BACKENDS, options.to))
    except (Failed, TimeoutError) as failure:
        print(f"\nFailed: {failure or 'it took too long'}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
