"""Secrets planted in everything that a client, a backend and the configuration say are found in nothing that is told.

Nor does a shadow get credentials. Fields that the configuration names do appear, and only where they are named; so do
the two that the pages except: `tracestate`, which spans have a place for, and a trusted peer's `X-Request-Id`.
"""

from __future__ import annotations

import gzip
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.kit import serving
from tests.kit.ask import get, status, understudy, until
from tests.kit.program import Program, running

from .peers import Client
from .rehearsal import Shadow, says

CONFIG = """
listeners: {{ingress: {{bind: 127.0.0.1:0, trust: [{trust}]}}}}
admin: {{bind: 127.0.0.1:0, token: {{env: CANARY_ADMIN}}}}
drain: {{grace: 1s}}
secret: {{env: CANARY_SECRET}}
backends:
  stable: {{endpoints: ["{live}"], version: "7"}}
  rewritten: {{endpoints: ["{live}"], rewrite: {{json: {{model: iris}}}}}}
  down: {{endpoints: ["http://127.0.0.1:9"], connect_timeout: 200ms}}
  next: {{endpoints: ["{shadow}"], version: "9", first_byte_timeout: 1s}}
x-mirror: &mirror {{type: mirror, to: [{{backend: next, set_headers: {{x-shadow-key: {{env: CANARY_SHADOW}}}}}}]}}
routes:
  - {{name: down, match: {{path_prefix: /down}}, backend: down, filters: [*mirror]}}
  - {{name: rewritten, match: {{path_prefix: /rewritten}}, backend: rewritten}}
  - name: claims
    match: {{path_prefix: /claims}}
    backend: stable
    filters: [{{type: split, experiment: c, key: {{jwt: sub, missing: refuse}}, arms: {{stable: 1}}}}]
  - name: iris
    match: {{path_prefix: /v2}}
    backend: stable
    filters:
      - type: flags
        rules: [{{flag: beta, when: {{header: x-beta, present: true}}, set_headers: {{x-is-beta: "1"}}}}]
      - {{type: split, experiment: e, key: {{header: x-user-id}}, arms: {{stable: 1}}}}
      - *mirror
telemetry:
  otlp: {{endpoint: "{sink}", headers: {{x-tenant-key: {{env: CANARY_OTLP}}}}}}
  traces: {{sample: 1.0, headers: [x-named-for-traces]}}
  metrics: {{interval: 1s}}
  access_log: {{to: access.log, headers: [x-named-for-logs]}}
"""
CREDENTIALS = ("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key")
FIELDS = (
    *CREDENTIALS, "x-custom-secret", "idempotency-key", "user-agent", "referer", "origin", "baggage", "x-user-id",
    "x-beta", "forwarded", "x-forwarded-user", "x-auth-request-email", "content-disposition", "accept-language",
    "x-forwarded-for", "x-forwarded-host", "x-real-ip", "host",
)  # fmt: skip
NOT_PASSED_ON = {
    "proxy-authorization", "forwarded", "x-forwarded-user", "x-forwarded-for", "x-forwarded-host", "x-real-ip",
}  # fmt: skip
"""The proxy's own, and what only a trusted peer may say."""
ENVIRONMENT = {name: f"CANARY-{name}-of-thirty-two-bytes" for name in (
    "CANARY_ADMIN", "CANARY_SECRET", "CANARY_SHADOW", "CANARY_OTLP",
)}  # fmt: skip
HEADER, CLAIMS = (
    urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg": "none"}', b'{"sub": "CANARY-sub", "email": "CANARY-email"}')
)
TOKEN = f"Bearer {HEADER}.{CLAIMS}.CANARY-signature"
NAMED = """\
x-named-for-logs: NAMED-LOGS\r
x-named-for-traces: NAMED-TRACES\r
x-request-id: NAMED-ID\r
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r
tracestate: vendor=NAMED-STATE\r
"""
JSON = b'{"output": "CANARY-answer"}'
FIELDS_OF_ANSWERS = b"Set-Cookie: sid=CANARY-answer\r\nX-Backend: CANARY-answer\r\nWarning: CANARY-answer\r\n"
ANSWER = b"HTTP/1.1 200 CANARY-answer\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    FIELDS_OF_ANSWERS, len(JSON), JSON,
)  # fmt: skip
EVENT = b'data: {"choices":[{"delta":{"content":"CANARY-answer"}}]}\n\n'
EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    + 3 * (b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
    + b"0\r\n\r\n"
)
WRONG_ANSWERS = (
    b"SSH-2.0-CANARY-answer\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nBad Name: CANARY-answer\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: CANARY-answer\r\n\r\n",
    b"HTTP/1.1 503 CANARY-answer\r\nRetry-After: CANARY-answer\r\nContent-Length: 13\r\n\r\nCANARY-answer",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nCANARY-answer\r\n",
)
WRONG_REQUESTS = (
    b"GET /v2?CANARY-refused HTTP/1.1\r\nHost: a\r\nBad Name: CANARY-refused\r\n\r\n",
    b"CANARY-refused\r\n\r\n",
    b"CANARY-refused /v2 HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET /v2 HTTP/1.1\r\nHost: CANARY-refused@/\r\n\r\n",
    b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: CANARY-refused\r\n\r\n",
    b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nCANARY-refused\r\n",
    b"GET /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CANARY-refused\r\n\r\n",
    b"GET /v2 HTTP/1.1\r\nHost: a\r\nExpect: CANARY-refused\r\n\r\n",
    b"GET /nowhere?CANARY-refused HTTP/1.1\r\nHost: a\r\nX-Large: CANARY-refused" + bytes(70000) + b"\r\n\r\n",
)


class Sink:
    """What a backend of OTLP/HTTP was sent, every byte. Mutable state: heads and bodies."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.url = ""


@contextmanager
def sunk() -> Iterator[Sink]:
    """One, for the length of the block."""
    sink = Sink()

    class Handler(serving.Handler):
        def do_POST(self) -> None:
            body = self.body()
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            sink.heads.append(f"{self.requestline}\n{self.headers}")
            sink.bodies[self.path] = sink.bodies.get(self.path, b"") + body
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")

    with serving.serving(Handler) as sink.url:
        yield sink


class Site:
    """The program between its peers. Mutable state: how many requests were planted."""

    def __init__(self, program: Program, live: Shadow, shadow: Shadow) -> None:
        self.program, self.live, self.shadow = program, live, shadow
        self._numbers = count(1)

    def plant(self, path: str, answer: bytes, body: bytes = b'{"prompt": "CANARY-body"}', **fields_of: str) -> int:
        """A request with a secret in every place; the status of its answer, 0 where it was cut."""
        self.live.answers = self.shadow.answers = says(answer)
        values = {name: f"CANARY-{name}-{next(self._numbers)}" for name in FIELDS}
        values |= {"baggage": f"user={values['baggage']};role=admin", **fields_of}
        fields = "".join(f"{name}: {value}\r\n" for name, value in values.items())
        target = f"{path}?CANARY-query=CANARY-query&token=CANARY-query"
        client = Client(self.program.address("ingress"))
        fields += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        client.send(f"POST {target} HTTP/1.1\r\n{fields}{NAMED}\r\n".encode())
        client.send(body)
        try:
            return client.answer(b"POST").status
        except AssertionError:
            return 0
        finally:
            client.close()

    def refused(self, request: bytes) -> None:
        """A request that no backend sees."""
        client = Client(self.program.address("ingress"))
        client.send(request)
        assert client.answer().status >= 400
        client.close()

    def told(self) -> dict[str, str]:
        """All that the running program says to whoever asks."""
        admin = self.program.url("admin")
        pages = {path: get(admin + path)[1] for path in ("/status", "/compare", "/metrics", "/config", "/readyz")}
        shown = understudy("status", "--admin", admin, folder=Path("/"))
        return {**pages, "screen": shown.stdout + shown.stderr}


@contextmanager
def planted(folder: Path, trust: str) -> Iterator[tuple[Site, Sink]]:
    """At the end the program has stopped, and exported all that it had."""
    live, shadow = Shadow(), Shadow()
    try:
        with sunk() as sink:
            text = CONFIG.format(live=live.url, shadow=shadow.url, sink=sink.url, trust=trust)
            with running(text, folder, environment=ENVIRONMENT) as program:
                yield Site(program, live, shadow), sink
    finally:
        for each in (live, shadow):
            each.close()


def provoke(site: Site) -> int:
    """Exchanges of every kind; how many of them there are."""
    assert site.plant("/v2/json", ANSWER) == 200
    assert site.plant("/v2/events", EVENTS) == 200
    for answer in WRONG_ANSWERS:
        assert site.plant("/v2/wrong", answer) in (200, 502, 503, 0)
    assert site.plant("/down", ANSWER) == 503
    assert site.plant("/rewritten", ANSWER, b'{"prompt": CANARY-body') == 200, "passed on as it is"
    assert site.plant("/claims", ANSWER) == 400
    assert site.plant("/claims", ANSWER, authorization=TOKEN) == 200, "its claim was the key of a draw"
    assert site.plant("/nowhere", ANSWER) == 404
    for request in WRONG_REQUESTS:
        site.refused(request)
    return 2 + len(WRONG_ANSWERS) + 5 + len(WRONG_REQUESTS)


def check(folder: Path, trust: str, id_told: set[str]) -> None:
    """Plant, look everywhere, find nothing; the id of a request only in `id_told`."""
    with planted(folder, trust) as (site, sink):
        exchanges = provoke(site)
        log = folder / "access.log"
        until(lambda: log.exists() and log.read_bytes().count(b"\n") == exchanges)
        until(lambda: sum(each["requests"] for each in status(site.program)["calls"] if each["role"] == "live") > 10)
        until(lambda: b"http.server.request.duration" in sink.bodies.get("/v1/metrics", b""))
        told = site.told()
        assert site.program.stop() == 0
        told["program log"] = site.program.stderr
        lines = log.read_text()
    told["access log"] = lines
    told |= {path: body.decode("latin-1") for path, body in sink.bodies.items()}
    told["heads of the export"] = "".join(sink.heads).replace(ENVIRONMENT["CANARY_OTLP"], "")
    for where, text in told.items():
        at = max(text.lower().find(secret) for secret in ("canary-", CLAIMS.lower()))
        assert at < 0, f"{where}: {text[max(0, at - 200) : at + 100]}"
    assert {where for where, text in told.items() if "NAMED-LOGS" in text} == {"access log"}
    assert {where for where, text in told.items() if "NAMED-TRACES" in text} == {"/v1/traces"}
    assert {where for where, text in told.items() if "NAMED-STATE" in text} == {"/v1/traces"}
    assert {where for where, text in told.items() if "NAMED-ID" in text} == id_told
    assert lines.count("NAMED-LOGS") == 2 + len(WRONG_ANSWERS) + 5, "of every request that could be read"
    assert ENVIRONMENT["CANARY_OTLP"] in sink.heads[0]
    live, shadow = (b"".join(map(bytes, each.received)).lower() for each in (site.live, site.shadow))
    reached, copied = (
        {place for place in (*FIELDS, "query", "body") if f"canary-{place}".encode() in each} for each in (live, shadow)
    )
    assert reached >= {*FIELDS, "query", "body"} - NOT_PASSED_ON, "what did not reach live was planted nowhere"
    assert copied == reached - {*CREDENTIALS, "idempotency-key"}
    assert CLAIMS.lower().encode() in live
    assert ENVIRONMENT["CANARY_SHADOW"].lower().encode() in shadow
    assert ENVIRONMENT["CANARY_SHADOW"].lower().encode() not in live


def test_no_secret_of_a_stranger_is_told(tmp_path: Path) -> None:
    check(tmp_path, "", set())


def test_no_secret_of_a_trusted_peer_is_told(tmp_path: Path) -> None:
    check(tmp_path, "127.0.0.1/32", {"/status", "screen", "access log", "/v1/traces"})
