"""What a proxy itself says of its copies, asked through its admin API."""

from __future__ import annotations

import http.client
import json
from typing import NamedTuple

from .subjects import Subject
from .wire import HOST, BenchError

SHADOW = "shadow"
"""The name of the backend, or cluster, that hears copies."""

TIMEOUT_S = 5.0


class Told(NamedTuple):
    """Since the proxy started."""

    exchanges: int  # requests that passed the mirror
    sent: int  # copies on their way or ended
    dropped: int  # never sent, and counted as such
    pairs_lost: int  # records of pairs that were dropped on their way to be compared


def told(subject: Subject) -> Told:
    """Ask Understudy or Envoy. Raises BenchError when it does not answer."""
    if subject.name == "understudy":
        counts = [pair["counts"] for pair in json.loads(_get(subject, "/compare"))["pairs"]]
        lost = int(json.loads(_get(subject, "/status"))["records_dropped"])
        exchanges, sent = (sum(each[name] for each in counts) for name in ("exchanges", "sent"))
        return Told(exchanges, sent, sum(sum(each["dropped"].values()) for each in counts), lost)
    prefix, all_name = f"cluster.{SHADOW}.upstream_rq_", "http.bench.downstream_rq_total"
    lines = _get(subject, f"/stats?filter=^({prefix}|{all_name})").splitlines()
    stats = dict(line.split(": ", 1) for line in lines)
    exchanges, sent, dropped = (int(stats[name]) for name in (all_name, f"{prefix}total", f"{prefix}pending_overflow"))
    return Told(exchanges, sent, dropped, 0)


def spans_lost(subject: Subject, each: int) -> int:
    """How many spans Understudy says it lost, a record of `each` spans that a worker dropped included."""
    status = json.loads(_get(subject, "/status"))
    lost = status["lost"]
    return int(lost.get("spans", 0)) + int(lost.get("spans_beyond_rate", 0)) + each * int(status["records_dropped"])


def version(subject: Subject) -> int:
    """That of the configuration by which Understudy serves."""
    return int(json.loads(_get(subject, "/status"))["config"]["version"])


def _get(subject: Subject, path: str) -> str:
    connection = http.client.HTTPConnection(HOST, subject.admin, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException) as problem:
        raise BenchError(f"{subject.name}: its admin API does not answer {path}: {problem}") from problem
    finally:
        connection.close()
    if answer.status != 200:
        raise BenchError(f"{subject.name}: its admin API answers {path} with {answer.status}: {text[:200]}")
    return text
