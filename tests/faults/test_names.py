"""Fault 17: B's name has no address, none in time, or another one. The last good addresses keep serving."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import pytest
from understudy.proxy.dns import Names, Use

from tests.kit.program import Program, running

from .nameserver import NameServer, asking_it, name_server, why_not
from .peers import Backend, Client, ok, problem

NAMES = "DNS NXDOMAIN, timeout or change"
HERE, THERE = "127.0.0.1", "127.0.0.2"
CONFIG = """
listeners: {{ingress: {{bind: 127.0.0.1:0}}}}
admin: {{bind: 127.0.0.1:0}}
drain: {{grace: 1s}}
backends:
  named: {{endpoints: ["http://b.test:{port}"], dns_refresh: 100ms, connect_timeout: 300ms, keep_alive: 60s}}
routes: [{{name: all, match: {{path_prefix: /}}, backend: named}}]
"""


class Named(NamedTuple):
    """A program whose backend has a name, the server that says where it is, and B at both places."""

    program: Program
    names: NameServer
    here: Backend
    there: Backend

    def ask(self) -> Client:
        """A request of a new client."""
        client = Client(self.program.address("ingress"))
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nx=1")
        return client

    def served_by(self, backend: Backend, within_s: float = 0.3) -> None:
        """One exchange, whole, and soon."""
        client = self.ask()
        backend.next_call(within_s).send(ok())
        assert client.answer().status == 200
        client.close()

    def refused(self, within_s: float) -> None:
        """One request, told 503."""
        client = self.ask()
        assert problem(client.answer(within_s=within_s)) == (503, "connect_failed")
        client.close()

    def moves_to(self, backend: Backend) -> float:
        """Ask until B answers at this place; how long that took, in seconds."""
        begun = monotonic()
        other = self.here if backend is self.there else self.there
        while monotonic() < begun + 5:
            client = self.ask()
            while client.still_open(0.005):
                for each in (backend, other):
                    if not each.quiet(0.001) and any(call.take() for call in each.connections):
                        each.connections[-1].send(ok())
            status = client.answer().status
            client.close()
            if status == 200 and backend.connections:
                return monotonic() - begun
        raise AssertionError("it never moved")


@pytest.fixture
def named(tmp_path: Path) -> Iterator[Named]:
    """All of it; skipped where a program cannot be given a name server of its own."""
    why = why_not(tmp_path)
    if why is not None:
        pytest.skip(why)
    here = Backend()
    there = Backend(address=(THERE, here.address[1]))
    try:
        with name_server() as names:
            config = CONFIG.format(port=here.address[1])
            with running(config, tmp_path, through=asking_it(tmp_path)) as program:
                yield Named(program, names, here, there)
    finally:
        here.close()
        there.close()


@pytest.fixture
def row(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The test's line of the table."""
    found: dict[str, Any] = dict(request.node.user_properties)["fault"]
    return found


@pytest.mark.fault(17, NAMES)
def test_no_such_name_is_a_503_until_there_is_one(named: Named, row: dict[str, Any]) -> None:
    named.refused(0.5)
    named.names.addresses = (HERE,)
    row["recover_ms"] = round(named.moves_to(named.here) * 1000, 1)
    row["lost"] = "requests before the first address: 503"
    assert row["recover_ms"] < 500  # dns_refresh, and one question


@pytest.mark.fault(17, NAMES)
def test_a_silent_name_server_is_a_503_at_the_connect_timeout(named: Named) -> None:
    named.names.addresses = None
    begun = monotonic()
    named.refused(1.0)
    assert monotonic() - begun < 0.6


@pytest.mark.fault(17, NAMES)
@pytest.mark.parametrize("silence", [(), None], ids=["NXDOMAIN", "timeout"])
def test_the_last_good_address_keeps_serving(named: Named, silence: tuple[str, ...] | None) -> None:
    named.names.addresses = (HERE,)
    named.moves_to(named.here)
    named.names.addresses = silence
    named.program.wait_line("cannot resolve b.test")
    for _ in range(20):
        named.served_by(named.here)
    named.here.connections[-1].close()
    named.served_by(named.here)  # over a new connection, too
    named.names.addresses = (THERE,)
    assert named.moves_to(named.there) < 3


@pytest.mark.fault(17, NAMES)
def test_a_hung_name_server_delays_nobody(named: Named) -> None:
    named.names.addresses = (HERE,)
    named.moves_to(named.here)
    named.names.addresses = None
    named.names.asked.clear()
    assert named.names.asked.wait(5)  # from now on a question hangs
    slowest_s = 0.0
    for _ in range(100):
        begun = monotonic()
        named.served_by(named.here)
        slowest_s = max(slowest_s, monotonic() - begun)
    assert slowest_s < 0.2


@pytest.mark.fault(17, NAMES)
def test_a_hung_name_server_does_not_hold_up_the_end(named: Named) -> None:
    named.names.addresses = None
    named.names.asked.clear()
    assert named.names.asked.wait(5)
    begun = monotonic()
    assert named.program.stop() == 0
    assert monotonic() - begun < 1  # a question takes two seconds


@pytest.mark.fault(17, NAMES)
def test_new_addresses_take_over_within_the_refresh(named: Named, row: dict[str, Any]) -> None:
    named.names.addresses = (HERE,)
    named.moves_to(named.here)
    old = named.here.connections[0]
    named.names.addresses = (THERE,)
    row["recover_ms"] = round(named.moves_to(named.there) * 1000, 1)
    row["lost"] = "nothing"
    assert row["recover_ms"] < 500
    old.wait_end(0.5)  # nobody will use it again
    for _ in range(10):
        named.served_by(named.there)


@pytest.mark.fault(17, NAMES)
def test_an_answer_under_way_ends_at_the_old_address(named: Named) -> None:
    named.names.addresses = (HERE,)
    named.moves_to(named.here)
    client = named.ask()
    call = named.here.next_call()
    named.names.addresses = (THERE,)
    named.moves_to(named.there)
    call.send(ok(b"old, but good"))
    assert client.answer().body == b"old, but good"
    client.close()
    call.wait_end(0.5)


class NamingLoop(asyncio.SelectorEventLoop):
    """A loop whose resolver says what the test wants. Mutable state: `says`, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.says: list[tuple[str, ...] | OSError] = []

    async def getaddrinfo(self, host: Any, port: Any, **kwargs: Any) -> Any:
        """The next of what it says."""
        said = self.says.pop(0)
        if isinstance(said, OSError):
            raise said
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in said]


@pytest.mark.fault(17, NAMES)
def test_the_resolver_tells_of_changes_and_of_nothing_else() -> None:
    """Wherever there is no name server to be had: the same by a loop of the test's own."""
    changes: list[tuple[str, ...]] = []
    gone = socket.gaierror(socket.EAI_NONAME, "no such name")
    says: list[tuple[str, ...] | OSError] = [gone, (HERE,), (HERE, HERE), gone, (), (THERE, HERE), (HERE, THERE)]

    async def resolve(loop: NamingLoop) -> None:
        loop.says = list(says)
        names = Names(loop, loop.create_task)
        resolver = names.resolver("b.test", "a user", Use(0.001, True, lambda: changes.append(resolver.addresses)))
        await resolver.first.wait()
        assert resolver.addresses == ()
        while loop.says:
            await turn(loop)
        resolver.leave("a user")

    with asyncio.Runner(loop_factory=NamingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, NamingLoop)
        runner.run(resolve(loop))
    assert changes == [(HERE,), (HERE, THERE)]


async def turn(loop: asyncio.AbstractEventLoop) -> None:
    """Let a millisecond of the loop's time pass."""
    passed = loop.create_future()
    loop.call_later(0.001, passed.set_result, None)
    await passed
