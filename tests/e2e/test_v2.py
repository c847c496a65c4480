"""KServe and MLServer over the V2 inference protocol: the same answers with and without the proxy."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from demo import v2
from demo.classifiers import flowers
from demo.lineup import Server
from tests.e2e.conftest import Served
from tests.e2e.exchange import Ask, ask, ask_all

pytestmark = pytest.mark.e2e

Serve = Callable[[Server], Served]

INFER = "/v2/models/iris/infer"
JSON = {"Content-Type": "application/json"}
SERVERS: tuple[Server, ...] = ("kserve", "mlserver")


def infer(id: str, rows: Sequence[Sequence[float]]) -> Ask:
    return Ask("POST", INFER, json.dumps(v2.infer_request(id, rows)).encode(), JSON)


def binary_infer(id: str, rows: Sequence[Sequence[float]], *, answer_binary: bool) -> Ask:
    """V2's binary tensors: a JSON head whose length a header field tells, then the raw little-endian values."""
    values = [value for row in rows for value in row]
    raw = struct.pack(f"<{len(values)}d", *values)
    size = {"binary_data_size": len(raw)}
    tensor = {"name": "flowers", "shape": [len(rows), 4], "datatype": "FP64", "parameters": size}
    head = json.dumps({"id": id, "parameters": {"binary_data_output": answer_binary}, "inputs": [tensor]}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Ask("POST", INFER, head + raw, headers)


def without_time(zipped: bytes) -> bytes:
    """RFC 1952 section 2.3: bytes 4 to 7 are the time of compression."""
    return zipped[:4] + zipped[8:]


ROWS = [flower.features for flower in flowers()]
BODY = infer("chunked", ROWS[:20]).body
assert isinstance(BODY, bytes)

ASKED = {
    "live": Ask("GET", "/v2/health/live"),
    "ready": Ask("GET", "/v2/health/ready"),
    "metadata of the server": Ask("GET", "/v2"),
    "metadata of the model": Ask("GET", "/v2/models/iris"),
    "one flower": infer("one", ROWS[:1]),
    "all flowers": infer("all", ROWS),
    "a chunked body": Ask("POST", INFER, [BODY[:100], BODY[100:101], BODY[101:]], JSON),
    "broken JSON": Ask("POST", INFER, b'{"inputs": [', JSON),
    "an unknown model": Ask("POST", "/v2/models/tulip/infer", BODY, JSON),
    "a method not allowed": Ask("DELETE", INFER),
    "HEAD": Ask("HEAD", "/v2/health/live"),
    "a query and an encoded path": Ask("GET", "/v2/models/iris%20is?a=b&a=%2F"),
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("what", ASKED)
def test_the_same_answer_with_and_without_the_proxy(serve: Serve, server: Server, what: str) -> None:
    served = serve(server)

    assert ask(served.proxied, ASKED[what]) == ask(served.direct, ASKED[what])


@pytest.mark.parametrize("server", SERVERS)
def test_the_answer_is_right(serve: Serve, server: Server) -> None:
    answer = ask(serve(server).proxied, infer("all", ROWS))

    named = json.loads(answer.body)["outputs"][0]["data"]
    right = sum(found == flower.species for found, flower in zip(named, flowers(), strict=True))
    assert answer.status == 200
    assert right >= 140


@pytest.mark.parametrize("server", SERVERS)
def test_every_caller_gets_the_answer_to_its_own_question(serve: Serve, server: Server, full: bool) -> None:
    served = serve(server)
    asked = [infer(f"flower-{number}", [row]) for number, row in enumerate(ROWS)] * (10 if full else 1)
    expected = ask_all(served.direct, asked)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask_all(served.proxied, asked), range(8)))

    assert [json.loads(answer.body)["id"] for answer in expected[:150]] == [f"flower-{i}" for i in range(150)]
    assert all(each == expected for each in answers)


@pytest.mark.parametrize("answer_binary", [False, True])
def test_binary_tensors_pass_unchanged(serve: Serve, answer_binary: bool) -> None:
    served = serve("kserve")
    each = binary_infer("binary", ROWS, answer_binary=answer_binary)

    proxied, direct = ask(served.proxied, each), ask(served.direct, each)

    assert proxied == direct
    assert proxied.status == 200
    assert ("inference-header-content-length" in proxied.fields) is answer_binary


def test_a_large_tensor_passes_unchanged(serve: Serve, full: bool) -> None:
    served = serve("kserve")
    each = binary_infer("large", ROWS * (3600 if full else 220), answer_binary=True)

    proxied, direct = ask(served.proxied, each), ask(served.direct, each)

    assert len(each.body or b"") > (16_000_000 if full else 1_000_000)
    assert proxied == direct
    assert proxied.status == 200


def test_mlserver_may_compress(serve: Serve) -> None:
    served = serve("mlserver")
    each = infer("all", ROWS * 10)
    each = each._replace(headers={**JSON, "Accept-Encoding": "gzip"})

    proxied, direct = ask(served.proxied, each), ask(served.direct, each)

    assert proxied.fields["content-encoding"] == "gzip"
    assert proxied.headers == direct.headers
    when = slice(4, 8)  # RFC 1952: the time of compression, the only bytes that may differ
    assert (
        proxied.body[: when.start] + proxied.body[when.stop :] == direct.body[: when.start] + direct.body[when.stop :]
    )


@pytest.mark.parametrize("way", ["direct", "proxied"])
def test_the_triton_client_speaks_through_the_proxy(serve: Serve, way: str) -> None:
    serve("mlserver")  # whose environment has the client
    host, port = getattr(serve("kserve"), way)
    script = Path(__file__).with_name("triton_client.py")
    python = Path(__file__).parents[2] / ".venv-mlserver" / "bin" / "python"

    done = subprocess.run([python, script, f"{host}:{port}"], capture_output=True, text=True, timeout=40, check=False)

    assert done.returncode == 0, done.stderr
    species = json.loads(done.stdout)
    assert species == {"live": True, "ready": True, "species": [0, 1, 2]}
