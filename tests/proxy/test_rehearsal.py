"""Live against shadow through the whole program: what /compare, /metrics and the commands say of known delays."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.kit.ask import get, status, understudy, until
from tests.kit.delayed import delayed
from tests.kit.program import Program
from tests.kit.rehearsing import answers, compared, pair_of, rehearsing

LIVE_S = 0.02
CLIENTS = 4


@contextmanager
def paced(folder: Path, shadow_s: Callable[[int], float]) -> Iterator[Program]:
    """The program, with a live backend that takes 20 ms and a shadow that takes `shadow_s`."""
    with delayed(lambda number: LIVE_S) as live, delayed(shadow_s) as shadow:
        with rehearsing(folder, live, shadow, of_copies={"first_byte_timeout": "100ms"}) as program:
            yield program


def load(program: Program, requests: int) -> None:
    """So many requests over a few connections."""
    assert set(answers(program, requests, CLIENTS, "/v2/models/iris/infer", b"x" * 100)) == {b"done\n"}


def wait_pairs(program: Program, selected: int) -> dict[str, Any]:
    """The comparison, as soon as so many pairs have come."""
    return pair_of(program, lambda counts: counts["selected"] >= selected)


def test_a_shadow_that_takes_twice_as_long_is_slower(tmp_path: Path) -> None:
    with paced(tmp_path, lambda number: 2 * LIVE_S) as program:
        load(program, 200)
        found = wait_pairs(program, 200)
        ratio = found["latency_ms"]["total"]["ratio"]
        assert 1.05 < ratio["low"] < 2  # a busy machine adds the same to both calls, which makes the ratio smaller
        assert found["verdict"] == {"state": "slower", "tolerance": 0.05}
        assert found["counts"]["complete"] == found["counts"]["compared"] == 200
        assert found["status"] == {"agree": 1.0, "matrix": {"200": {"200": 200}}}
        assert found["latency_ms"]["total"]["shadow"]["p50"] > 2000 * LIVE_S * 0.98
        done = understudy("status", "--admin", program.url("admin"), folder=tmp_path)
        assert done.returncode == 0, done.stdout
        assert "iris   stable@7  next@9    200  " in done.stdout
        assert "       -> slower by " in done.stdout
        shadow, live = sorted(json.loads(get(program.url("admin") + "/status")[1])["calls"], key=lambda c: c["backend"])
        assert (shadow["role"], shadow["want"], shadow["got"], shadow["requests"]) == ("shadow", 1.0, 1.0, 200)
        assert (live["role"], live["want"], live["got"]) == ("live", None, None)


def test_a_shadow_that_hangs_every_other_time_is_slower_by_an_unknown_amount(tmp_path: Path) -> None:
    with paced(tmp_path, lambda number: 3 * LIVE_S if number % 2 else 0.5) as program:
        load(program, 240)
        found = wait_pairs(program, 240)
        counts, total = found["counts"], found["latency_ms"]["total"]
        sent = counts["sent"]
        assert counts["censored"] > 0.2 * sent
        assert counts["censored"] + counts["complete"] + sum(counts["failed"].values()) == sent
        assert sent + sum(counts["dropped"].values()) == 240
        assert total["shadow"]["p99_is_lower_bound"]
        assert total["ratio"]["estimate_is_lower_bound"]
        if counts["compared"] >= total["ratio"]["least_pairs"]:
            assert total["ratio"]["high"] > 4 > total["ratio"]["low"] > 1
            assert found["verdict"]["state"] == "slower"


def test_connect_is_refused_and_an_upgrade_is_not_mirrored(tmp_path: Path) -> None:
    heard: list[int] = []
    with paced(tmp_path, lambda number: float(heard.append(number) or 0)) as program:
        with socket.create_connection(program.address("ingress"), timeout=10) as client:
            client.sendall(b"CONNECT model:443 HTTP/1.1\r\nHost: model:443\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 501 ")
        assert b'"reason":"bad_request"' in answer.replace(b": ", b":")
        upgrade = {"Connection": "upgrade", "Upgrade": "websocket"}
        connection = http.client.HTTPConnection(*program.address("ingress"), timeout=20)
        connection.request("POST", "/chat", body=b"", headers=upgrade)
        assert (given := connection.getresponse()).read() == b"done\n"
        assert given.status == 200, "the backend says no to the upgrade, which is its right"
        connection.close()
        counts = wait_pairs(program, 1)["counts"]
        assert (counts["selected"], counts["sent"], counts["dropped"]) == (1, 0, {"not_mirrorable": 1})
        load(program, 4)
        assert wait_pairs(program, 5)["counts"]["dropped"] == {"not_mirrorable": 1}
        assert len(heard) == 4
        (copies,) = (found := status(program))["copies"]
        assert (copies["exchanges"], copies["sent"], copies["dropped"]) == (5, 4, {"not_mirrorable": 1})
        (refused,) = [each for each in found["calls"] if not each["route"]]
        assert (refused["statuses"], refused["reasons"]) == ({"501": 1}, {"bad_request": 1})


def test_metrics_keep_shadows_apart(tmp_path: Path) -> None:
    with paced(tmp_path, lambda number: 0.0) as program:
        load(program, 20)
        wait_pairs(program, 20)

        def page() -> str:
            return get(program.url("admin") + "/metrics")[1]

        until(lambda: 'understudy_mirror_copies_total{route="iris",shadow="next",outcome="complete"} 20' in page())
        lines = page().splitlines()
        assert 'understudy_shadow_requests_total{route="iris",backend="next",version="9",status="200"} 20' in lines
        live = [line for line in lines if line.startswith("understudy_requests_total")]
        assert live == ['understudy_requests_total{route="iris",backend="stable",version="7",arm="",status="200"} 20']
        name = 'route="iris",live="stable@7",shadow="next@9"'
        assert f'understudy_pair_verdict{{{name},verdict="undecided"}} 1' in lines
        assert f"understudy_pair_compared{{{name}}} 20" in lines


def test_a_new_version_begins_a_new_epoch_and_a_changed_header_does_not(tmp_path: Path) -> None:
    with paced(tmp_path, lambda number: 0.0) as program:
        load(program, 20)
        wait_pairs(program, 20)
        file = tmp_path / "understudy.yaml"
        text = file.read_text()
        file.write_text(
            text.replace("    filters:\n", "    filters:\n      - {type: headers, request: {set: {a: b}}}\n")
        )
        assert understudy("reload", "--admin", program.url("admin"), folder=tmp_path).returncode == 0
        load(program, 20)
        assert wait_pairs(program, 40)["counts"]["exchanges"] == 40
        file.write_text(text.replace('version: "9"', 'version: "10"'))
        assert understudy("reload", "--admin", program.url("admin"), folder=tmp_path).returncode == 0
        program.wait_line("epoch 1 ends: iris: stable@7 against next@9: 40 pairs, ")
        assert compared(program)["epoch"] == compared(program)["epoch"] | {"id": 2, "why": "version"}
        load(program, 20)
        assert wait_pairs(program, 20)["shadow"] == {"backend": "next", "version": "10"}


def test_documents_of_programs_and_files_are_added_up(tmp_path: Path) -> None:
    with paced(tmp_path, lambda number: 0.0) as program:
        load(program, 20)
        wait_pairs(program, 20)
        address = program.url("admin")
        (tmp_path / "a.json").write_text(get(address + "/compare")[1])
        other = json.loads((tmp_path / "a.json").read_text()) | {"run": "another"}
        (tmp_path / "b.json").write_text(json.dumps(other))
        done = understudy("status", "--from", "a.json", "b.json", "--json", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        merged = json.loads(done.stdout)
        assert (merged["instances"], merged["pairs"][0]["counts"]["selected"]) == (2, 40)
        (tmp_path / "c.json").write_text(done.stdout)
        for sources in (["c.json"], [address, "b.json"], [address + "/compare", "b.json"]):
            done = understudy("status", "--from", *sources, folder=tmp_path)
            assert (done.returncode, done.stderr) == (0, "")
            assert "iris   stable@7  next@9     40  " in done.stdout
        done = understudy("status", "--from", "a.json", "none.json", folder=tmp_path)
        assert done.returncode == 1
        assert done.stderr == "understudy: none.json: it cannot be read: No such file or directory\n"
        assert "WARN  1 of 2 documents could not be read: not counted" in done.stdout


def test_what_cannot_be_added_up_is_said_and_is_2(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"schema": "understudy.status/1"}')
    (tmp_path / "later.json").write_text('{"schema": "understudy.compare/9"}')
    (tmp_path / "noise").write_bytes(b"\x00\xff" * 100)
    for source, why in (
        ("none.json", "none.json: it cannot be read: No such file or directory"),
        (".", ".: it cannot be read: Is a directory"),
        ("status.json", "status.json: it is no answer of GET /compare"),
        ("later.json", "later.json: its schema is understudy.compare/9; this program reads understudy.compare/1"),
        ("noise", "noise: it is no answer of GET /compare"),
        ("http://127.0.0.1:1", "no program answers at http://127.0.0.1:1: "),
        ("https://127.0.0.1:1", "https://127.0.0.1:1 is no address of an admin API: "),
        (f"unix:{tmp_path}/none", f"no program answers at unix:{tmp_path}/none: "),
    ):
        done = understudy("status", "--from", source, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"understudy: {why}")
        assert "Traceback" not in done.stderr
    done = understudy("status", "--watch", "--from", "a.json", folder=tmp_path)
    assert done.returncode == 2
    assert "not allowed with argument" in done.stderr
