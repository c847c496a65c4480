"""`make demo`: start two models and the proxy, ask, load, look, and stop everything.

Exit status 0: every answer was right and every process ended well. 1: something failed, and says what.
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

from . import examples, load
from .classifiers import KINDS, accuracy, flowers, split, train
from .lineup import LINEUPS, Lineup
from .load import Known
from .processes import Failed, Process, free_port
from .questions import Question, all_questions, chat, classify, essence

CONFIG = Path(__file__).with_name("understudy.yaml")
UNDERSTUDY = str(Path(sys.executable).with_name("understudy"))
PORTS = {"ingress": 7080, "admin": 7081, "stable": 9001, "canary": 9002}
"""The ports of the configuration; one that somebody has is exchanged for a free one."""

TIMEOUT = aiohttp.ClientTimeout(total=30)


class Demo:
    """One run. Mutable: `processes` in the order in which they started."""

    def __init__(self, lineup: Lineup, folder: Path, session: aiohttp.ClientSession) -> None:
        self.lineup = lineup
        self.folder = folder
        self.session = session
        self.processes: list[Process] = []
        taken: set[int] = set()
        self.ports = {name: free_port(wanted, taken) for name, wanted in PORTS.items()}

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    async def start_models(self) -> None:
        """Start both models at once and wait until they are loaded."""
        print(f"Models: {self.lineup.title}")
        if "v2" in self.lineup.protocols:
            _print_accuracy()
        started = []
        for model in self.lineup.models:
            command = [*model.command, "--port", str(self.ports[model.backend])]
            started.append(await Process.start(model.backend, command, self.folder))
            self.processes.append(started[-1])
        for model, process in zip(self.lineup.models, started, strict=True):
            took = await process.answers(self.session, self.url(model.backend) + model.ready)
            where = f"{self.url(model.backend)}  pid {process.pid}"
            print(f"  {model.backend}  {where}  {model.what}, ready after {took:.1f} s")

    async def start_proxy(self) -> None:
        """Start Understudy with demo/understudy.yaml, its ports exchanged where they are taken."""
        text = CONFIG.read_text()
        for name, port in PORTS.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.ports[name]}")
        config = self.folder / "understudy.yaml"
        config.write_text(text)
        process = await Process.start("understudy", [UNDERSTUDY, "run", "-c", str(config)], self.folder)
        self.processes.append(process)
        took = await process.answers(self.session, self.url("admin") + "/readyz")
        print("Proxy: understudy run -c demo/understudy.yaml")
        where = f"{self.url('ingress')}  admin {self.url('admin')}  pid {process.pid}"
        print(f"  {where}  ready after {took:.1f} s\n")

    async def show_examples(self) -> int:
        """One prediction of each model, or one chat of each. Return how many were asked."""
        flower = flowers()[100].features
        shown: list[Question] = []
        if "v2" in self.lineup.protocols:
            shown += [classify("stable", "a", flower), classify("canary", "b", flower)]
        if "chat" in self.lineup.protocols:
            shown.append(chat("stable", flower))
        if "v2" not in self.lineup.protocols:
            shown.append(chat("canary", flower))
        for question in shown:
            await examples.show(self.session, self.url("ingress"), question)
        return len(shown)

    async def run_load(self, seconds: float, callers: int) -> int:
        """Load the proxy and return how many answers came. Raises Failed when one answer was not the model's own."""
        known = await self._known()
        print(f"Load: {callers} callers for {seconds:g} s; every fifth flower goes to the canary;")
        print("      each answer must be the one that the model gave when asked without the proxy")
        tally = await load.run(
            self.session,
            self.url("ingress"),
            known,
            seconds=seconds,
            callers=callers,
            report=lambda lap, line: print(f"  {lap:3} s  {line}", flush=True),
        )
        print(f"  total  {tally.summary()}")
        counts = ", ".join(f"{backend} {count:,}" for backend, count in sorted(tally.answers.items()))
        wrong = tally.wrong.total()
        print(f"  answers: {counts}; wrong: {wrong}\n")
        if wrong:
            raise Failed("\n".join(f"{count} times {what}" for what, count in tally.wrong.most_common(5)))
        return tally.answers.total()

    async def _known(self) -> list[Known]:
        """All questions, and what the models answer without the proxy."""
        known = []
        # A connection for each: llama.cpp closes one after a stream without saying so.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), timeout=TIMEOUT) as session:
            for question in all_questions(self.lineup.protocols):
                status, body = await load.ask(session, self.url(question.backend), question)
                if status != 200:
                    raise Failed(f"{question.backend} itself answered {status}: {body[:200]!r}")
                known.append((question, essence(question, body)))
        return known

    async def show_status(self, answers: int) -> None:
        """What an operator sees. Raises Failed when the proxy counted other than we did, or is not healthy."""
        print("$ understudy status")
        counted = await self._counted(answers)
        output, status = await _output([UNDERSTUDY, "status", "--admin", self.url("admin")])
        print(output.rstrip() + "\n", flush=True)
        if status != 0:
            raise Failed(f"understudy status ended with {status}")
        if counted != answers:
            raise Failed(f"the proxy counted {counted} answers with status 200, the callers {answers}")

    async def _counted(self, answers: int) -> int:
        """The answers with status 200 that the proxy counted; workers tell control every second."""
        clock = asyncio.get_running_loop().time
        end = clock() + 5
        counted = -1
        while counted != answers and clock() < end:
            async with self.session.get(self.url("admin") + "/status") as response:
                calls = (await response.json())["calls"]
            counted = sum(call["statuses"].get("200", 0) for call in calls)
        return counted

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


async def _output(command: Sequence[str]) -> tuple[str, int | None]:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode(), process.returncode


async def _run(options: argparse.Namespace) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="understudy-demo-") as folder:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=TIMEOUT) as session:
            demo = Demo(LINEUPS[options.server], Path(folder), session)
            try:
                await demo.start_models()
                await demo.start_proxy()
                answers = await demo.show_examples()
                answers += await demo.run_load(options.seconds, options.callers)
                await demo.show_status(answers)
                if options.stay:
                    print(f"Staying: try the commands above against {demo.url('ingress')}; Ctrl-C ends it.", flush=True)
                    await asyncio.Event().wait()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Failed(f"{type(error).__name__} {error}\n{demo.logs()}") from error
            finally:
                well = await demo.stop()
            if not well:
                raise Failed("a process did not end as it should, see above")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Two models, the proxy in front, and a load.")
    parser.add_argument("--server", choices=sorted(LINEUPS), default="builtin", help="which model servers to start")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the load")
    parser.add_argument("--callers", type=int, default=8, help="callers at the same time")
    parser.add_argument("--stay", action="store_true", help="keep everything running until Ctrl-C")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except Failed as failure:
        print(f"\nFailed: {failure}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0 if options.stay else 130
    print("Everything answered, and nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
