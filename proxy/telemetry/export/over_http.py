"""The SDK's exporters over http/protobuf, with eyes: they say only whether a request failed.

A session of ours sees what the backend answers: whether to come again and when, what it took in part, and answers that
look like success and are none. It reads no more of an answer than is worth reading, and for no longer than a timeout.

Imports the SDK: only an export that is on may import this module.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from io import BytesIO
from typing import Any, ClassVar, Final, TypeAlias

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from ....config.environment import Signal
from ...giving_way import step_aside
from .deadline import Deadline
from .outcome import Outcome, why
from .plan import Target

MOST_ANSWER_BYTES: Final = 64 << 10
MOST_PATIENCE_S: Final = 60.0
_SDKS_OWN: Final = frozenset({"content-type", "content-encoding", "user-agent"})
_AGAIN: Final = frozenset({429, 502, 503, 504})
_Answer: TypeAlias = type[ExportTraceServiceResponse] | type[ExportMetricsServiceResponse]


class _Encoded:
    """Sends what is encoded already, in front of an exporter of the SDK that would encode it."""

    _client: Any
    _answer: ClassVar[_Answer]
    _rejected: ClassVar[str]  # a field of it

    def __init__(self, target: Target) -> None:
        self._deadline = Deadline(target.timeout_s)
        self._session = _Session(target, self._deadline)
        super().__init__(**_options(target, self._session))
        own = {name: text for name, text in self._client._headers.items() if name.lower() in _SDKS_OWN}
        self._client._headers = own | dict(target.headers)  # without those that it reads from variables by itself
        self._client._shutdown_event = self._deadline

    def send(self, request: bytes) -> Outcome:
        """The request and its retries, within the timeout."""
        self._session.begin()
        self._deadline.begin()
        self._client.export(request)
        return self._session.outcome(self._answer, self._rejected)


class SpanExporter(_Encoded, OTLPSpanExporter):
    """Of an ExportTraceServiceRequest."""

    _answer = ExportTraceServiceResponse
    _rejected = "rejected_spans"


class MetricExporter(_Encoded, OTLPMetricExporter):
    """Of an ExportMetricsServiceRequest."""

    _answer = ExportMetricsServiceResponse
    _rejected = "rejected_data_points"


EXPORTERS: Final[dict[Signal, type[_Encoded]]] = {"traces": SpanExporter, "metrics": MetricExporter}


class _Session(requests.Session):
    """Mutable state: how the last request went, and what the environment says, which is read once."""

    def __init__(self, target: Target, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline
        self._environment: dict[str, Any] | None = None
        self.auth = _as_configured
        self.begin()
        self.mount("http://", _Adapter(None))
        self.mount("https://", _Adapter(target.server_name))

    def begin(self) -> None:
        """Forget the request before."""
        self._status = 0  # 0: no answer
        self._body = b""
        self._kind = ""
        self._after_s = 0.0
        self._error: Exception | None = None

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """As the SDK asks for it."""
        self.begin()
        if isinstance(self.verify, str):  # or else REQUESTS_CA_BUNDLE would win over what is configured
            options["verify"] = self.verify
        options["stream"] = True
        if isinstance(data := options.get("data"), bytes):
            options["data"] = BytesIO(data)  # is sent in pieces of 16 KiB: the core is anybody's between two
        try:
            options["timeout"] = self._deadline.left_s()  # the SDK's may be of an hour, or none
            if options["timeout"] <= 0:
                raise requests.Timeout
            response = super().request(*args, **options)
            step_aside()
            self._body = _body(response, self._deadline)
        except Exception as error:
            self._error = error
            raise
        self._status = response.status_code
        self._kind = response.headers.get("content-type", "")
        self._after_s = _patience_s(response.headers.get("retry-after", ""))
        return response

    def merge_environment_settings(self, *args: Any) -> dict[str, Any]:
        """Proxies and authorities: the SDK asks for the same URL every time."""
        if self._environment is None:
            self._environment = dict(super().merge_environment_settings(*args))
        return self._environment

    def outcome(self, kind: _Answer, rejected: str) -> Outcome:
        """What became of the last request."""
        status = self._status
        if not status:
            if self._error is None:
                return Outcome("the request could not be made")
            if isinstance(self._error, ValueError):  # of a URL or a header field, which it would quote: a secret
                return Outcome(f"the request cannot be made: {type(self._error).__name__}")
            return Outcome(why(self._error), again=True)
        if status >= 300:
            return Outcome(_status_words(status), again=status in _AGAIN, after_s=self._after_s)
        if "html" in self._kind:
            return Outcome(f"HTTP {status} with a page for people: this is no OTLP endpoint")
        try:
            partial = kind.FromString(self._body).partial_success if "protobuf" in self._kind else None
        except Exception:
            partial = None
        return Outcome(rejected=getattr(partial, rejected, 0))


class _Timely:
    """A connection whose answer's head is there within the timeout, which begins anew with every byte otherwise.

    Mutable state: whether it came too late.
    """

    sock: Any
    timeout: Any
    _late = False

    def getresponse(self) -> Any:
        """Called by urllib3."""
        self._late = False
        over = threading.Timer(self.timeout, self._cut)
        over.daemon = True
        over.start()
        response = None
        step_aside()
        try:
            response = super().getresponse()  # type: ignore[misc]
        except Exception:
            if not self._late:
                raise
        finally:
            over.cancel()
        if self._late:
            if response is not None:
                response.close()
            raise TimeoutError
        return response

    def _cut(self) -> None:
        self._late = True
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # of TLS too, from this thread


class _Connection(_Timely, HTTPConnection):
    pass


class _TlsConnection(_Timely, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """Gives up in time, and asks for, and verifies, another name than the URL's where one is configured."""

    def __init__(self, name: str | None) -> None:
        self._named: dict[str, Any] = {} if name is None else {"server_hostname": name, "assert_hostname": name}
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Called by the constructor."""
        super().init_poolmanager(connections, maxsize, block, **self._named, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def send(self, *args: Any, **options: Any) -> requests.Response:
        """Called by the session, with a request that it took half a millisecond to prepare."""
        step_aside()
        return super().send(*args, **options)


def _as_configured(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No credentials of a .netrc: they would win over the header that is configured."""
    return request


def _options(target: Target, session: requests.Session) -> dict[str, Any]:
    return {
        "endpoint": target.endpoint,
        "certificate_file": target.ca,
        "client_certificate_file": target.certificate,
        "client_key_file": target.key,
        "headers": dict(target.headers),
        "timeout": target.timeout_s,
        "compression": Compression.Gzip if target.compression == "gzip" else Compression.NoCompression,
        "session": session,
    }


def _body(response: requests.Response, deadline: Deadline) -> bytes:
    """The answer's beginning; its connection is of use again only where that was all of it.

    Read as it arrives: `iter_content` waits for a whole piece, and its timeout begins anew with every byte of it.
    """
    body = b""
    while chunk := response.raw.read1(8 << 10, decode_content=True):
        body += chunk
        if len(body) > MOST_ANSWER_BYTES or deadline.left_s() <= 0:
            response.close()
            break
    return body


def _patience_s(text: str) -> float:
    """Retry-After (RFC 9110 section 10.2.3), bounded; 0 where there is none that can be read."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()  # noqa: TID251 - compared with a date
        except (TypeError, ValueError):
            return 0.0
    return min(max(seconds, 0.0), MOST_PATIENCE_S) if math.isfinite(seconds) else 0.0


def _status_words(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
