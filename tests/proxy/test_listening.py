"""Sockets of control: what is bound, what is kept over a change of configuration, and what is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from understudy.proxy.listening import BindError, Bound, Listening, bind

KEY = ("admin", "bind")


@pytest.fixture
def listening() -> Iterator[Listening]:
    each = Listening()
    yield each
    each.commit({})


def connects(bound: Bound) -> bool:
    try:
        with socket.socket(bound.sock.family) as client:
            client.connect(bound.sock.getsockname())
        return True
    except ConnectionRefusedError:
        return False


@pytest.mark.parametrize(("address", "start"), [("127.0.0.1:0", "http://127.0.0.1:"), ("[::1]:0", "http://[::1]:")])
def test_port_0_shows_the_real_port(address: str, start: str) -> None:
    bound = bind(address, KEY)
    assert bound.url.startswith(start)
    assert int(bound.url.removeprefix(start)) > 0
    assert connects(bound)
    bound.close()


def test_an_unchanged_listener_keeps_its_socket_and_a_removed_one_is_closed(listening: Listening) -> None:
    listening.commit(listening.plan({"stays": "127.0.0.1:0", "goes": "127.0.0.1:0"}))
    before = dict(listening.bound)
    goes = before["goes"].sock.getsockname()
    planned = listening.plan({"stays": "127.0.0.1:0", "comes": "127.0.0.1:0"})
    assert listening.bound == before
    listening.commit(planned)
    assert listening.bound["stays"] is before["stays"]
    assert connects(listening.bound["comes"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(goes).close()


def test_a_renamed_listener_keeps_its_address(listening: Listening) -> None:
    free = bind("127.0.0.1:0", KEY)
    address = free.url.removeprefix("http://")
    free.close()
    listening.commit(listening.plan({"old": address}))
    sock = listening.bound["old"].sock
    listening.commit(listening.plan({"new": address}))
    assert listening.bound["new"].sock is sock
    assert connects(listening.bound["new"])


def test_one_address_that_cannot_be_bound_leaves_nothing_changed(listening: Listening) -> None:
    listening.commit(listening.plan({"stays": "127.0.0.1:0"}))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        open_before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(BindError, match=f"cannot listen on {address}: Address already in use") as raised:
            listening.plan({"stays": "127.0.0.1:0", "fine": "127.0.0.1:0", "taken": address})
        assert raised.value.key == ("listeners", "taken", "bind")
        assert len(os.listdir("/proc/self/fd")) == open_before
    assert connects(listening.bound["stays"])


def test_a_stale_unix_socket_is_replaced_and_ours_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    bound = bind(f"unix:{path}", KEY)
    assert bound.url == f"unix:{path}"
    assert connects(bound)
    bound.close()
    assert not path.exists()


def test_a_unix_socket_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(BindError, match="Address already in use"):
            bind(f"unix:{path}", KEY)
    assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(BindError, match="a file that is no socket is in the way"):
        bind(f"unix:{path}", KEY)
    assert path.read_text() == "data"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("192.0.2.1:0", "Cannot assign requested address"),
        (f"{'a' * 64}.example:0", "label"),  # which no name server can be asked for
        ("unix:/proc/self/cmdline/in.sock", "Not a directory"),
        ("unix:/nowhere/in.sock", "No such file or directory"),
    ],
)
def test_an_address_that_cannot_be_had_is_named_with_its_reason_and_key(address: str, reason: str) -> None:
    with pytest.raises(BindError, match=f"^cannot listen on {address}: .*{reason}") as raised:
        bind(address, KEY)
    assert raised.value.key == KEY


def test_an_inherited_socket_must_listen() -> None:
    with socket.socket() as sock, pytest.raises(BindError, match="no listening socket"):
        bind(f"fd:{sock.fileno()}", KEY)
    with pytest.raises(BindError, match="Bad file descriptor"):
        bind("fd:65535", KEY)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        bound = bind(f"fd:{sock.fileno()}", KEY)
        assert connects(bound)
        bound.close()
