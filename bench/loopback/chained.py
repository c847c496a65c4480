"""The whole chain side by side: five flags, a 90/10 split over two backends and a mirror of everything, no traces.

Three routes to the same backends: without a filter, with flags and split, with flags, split and mirror. Requests come
from many users. Most meet no flag, and every rule is tried for them; one in eight is drawn for the flag of one percent.

Envoy gets the same rules as routes with header matches and a runtime fraction, weighted clusters and a mirror of 100 %.
Its draw is not sticky: one random number a request, where Understudy hashes a user's key. That is cheaper for Envoy.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from .documents import PLENTY, backend, cluster, envoy_document, understudy_document
from .lab import Lab
from .peers import Variants, plain_count, start_variants
from .subjects import Subject, probe, start_configured
from .told import SHADOW, Told, told
from .wire import PLAIN_PATH, REQUEST_BODY, BenchError
from .wrk import Counts, Load, Window, measure

DECIDING_PATH, FULL_PATH = "/deciding", "/full"
VARIED_PATH = "/varied"  # as FULL_PATH, but no answer's head is like another's
CONNECTIONS = 32
USERS = 1000
MIRRORED = 0.99
"""The share of exchanges that a shadow must have heard, unless the proxy itself says that it dropped more."""

LOOK_S = 0.2
TELLING_S = 4.0  # by which copies, and what is told of them, may lag behind the last answer
EXPERIMENT = "ranker-v2"
RULES = (
    {"flag": "dogfood", "when": {"header": "x-employee", "equals": "true"}, "backend": "canary"},
    {
        "flag": "pin",
        "when": {"header": "x-model-variant", "in": ["stable", "canary"]},
        "backend_from": "x-model-variant",
    },
    {"flag": "pilot", "when": {"header": "x-tenant", "prefix": "acme-"}, "backend": "canary"},
    {
        "flag": "eu-trial",
        "when": {"all": [{"header": "x-region", "prefix": "eu-"}, {"header": "x-risk", "equals": "low"}]},
        "percent": 1,
        "key": {"header": "x-user-id"},
        "salt": EXPERIMENT,
        "backend": "canary",
    },
    {"flag": "no-rehearsal", "when": {"header": "x-no-shadow", "present": True}, "skip": ["mirror"]},
)
ARMS = {"stable": 90, "canary": 10}


def documents(variants: Variants, port: int, admin: int) -> dict[str, dict[str, Any]]:
    """The configuration of each contender."""
    return {"understudy": _understudy(variants, port, admin), "envoy": _envoy(variants, port, admin)}


def _understudy(variants: Variants, port: int, admin: int) -> dict[str, Any]:
    split = {"type": "split", "experiment": EXPERIMENT, "key": {"header": "x-user-id"}, "arms": ARMS}
    deciding = [{"type": "flags", "rules": list(RULES)}, split]
    mirror = {"type": "mirror", "to": [{"backend": SHADOW, "percent": 100}], "budget": {"requests": PLENTY}}
    whole = [*deciding, mirror]
    chains = {PLAIN_PATH: [], DECIDING_PATH: deciding, FULL_PATH: whole, VARIED_PATH: whole}
    routes = [
        {"name": path.rpartition("/")[2], "match": {"path_prefix": path}, "backend": "stable", "filters": chain}
        for path, chain in chains.items()
    ]
    backends = {
        "stable": backend(variants.stable, version="7"),
        "canary": backend(variants.canary, version="8"),
        SHADOW: backend(variants.shadow, version="9"),
    }
    return understudy_document(port, admin, backends, routes)


def _envoy(variants: Variants, port: int, admin: int) -> dict[str, Any]:
    clusters = [cluster(name, getattr(variants, name)) for name in ("stable", "canary", SHADOW)]
    plain = {"match": {"prefix": PLAIN_PATH}, "route": {"cluster": "stable", "timeout": "0s"}}
    fraction = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    mirror = {"request_mirror_policies": [{"cluster": SHADOW, "runtime_fraction": fraction}]}
    routes = [plain, *_envoy_chain(DECIDING_PATH, {})]
    routes += [*_envoy_chain(FULL_PATH, mirror), *_envoy_chain(VARIED_PATH, mirror)]
    return envoy_document(port, clusters, routes, admin)


def _envoy_chain(path: str, mirror: dict[str, Any]) -> list[dict[str, Any]]:
    """RULES and ARMS as Envoy's users write them: a route for each rule, and one for all others."""

    def route(to: dict[str, Any], *headers: dict[str, Any], copied: bool = True, **when: object) -> dict[str, Any]:
        match = {"prefix": path, "headers": list(headers), **when}
        return {"match": match, "route": {**to, "timeout": "0s", **(mirror if copied else {})}}

    canary = {"cluster": "canary"}
    weighted = [{"name": name, "weight": weight} for name, weight in ARMS.items()]
    split = {"weighted_clusters": {"clusters": weighted}}
    variant = {"safe_regex": {"regex": "stable|canary"}}
    percent = {"default_value": {"numerator": 1, "denominator": "HUNDRED"}}
    return [
        route(canary, _header("x-employee", {"exact": "true"})),
        route({"cluster_header": "x-model-variant"}, _header("x-model-variant", variant)),
        route(canary, _header("x-tenant", {"prefix": "acme-"})),
        route(
            canary,
            _header("x-region", {"prefix": "eu-"}),
            _header("x-risk", {"exact": "low"}),
            runtime_fraction=percent,
        ),
        route(split, {"name": "x-no-shadow", "present_match": True}, copied=False),
        route(split),
    ]


def _header(name: str, test: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "string_match": test}


class Chain:
    """The contenders with this configuration, and their backends. No mutable state of its own."""

    def __init__(self, lab: Lab, stack: contextlib.ExitStack) -> None:
        """Start everything. Raises BenchError."""
        self.lab = lab
        self.variants = start_variants(stack, lab.cores.load, lab.folder)
        made = partial(documents, self.variants)
        self.subjects = [
            start_configured(stack, name, made, lab.cores.subject, lab.folder) for name in lab.contenders()
        ]
        for each in self.subjects:
            lab.say(f"started        {each.name:11} pids {each.pids()} (whole chain)")
        self.counts = Counts(partial(plain_count, self.variants.stable), partial(plain_count, self.variants.shadow))

    def round(self, subject: Subject, path: str) -> tuple[Window, dict[str, float]]:
        """One round over one route, and whether the machine was quiet. Raises BenchError."""
        options, lab = self.lab.options, self.lab
        load = Load(path, CONNECTIONS, REQUEST_BODY, answer_size=probe(subject, path), users=USERS)
        times = {"warmup_s": options.warmup_s, "seconds": options.seconds}
        with lab.watched(subject) as disturbance:
            found = measure(subject, subject.ports.plain, load, self.counts, lab.cores, lab.folder, **times)
        return found, disturbance

    def sums(self, subject: Subject) -> Sums:
        """What the backends have counted so far, and what the proxy says of its copies."""
        assert self.counts.copies is not None
        return Sums(self.counts.requests(), self.counts.copies(), told(subject))


class Sums(NamedTuple):
    """Counts at one moment. Each look at a backend adds one to what it has counted."""

    requests: int
    copies: int
    told: Told


def heard(name: str, before: Sums, look: Callable[[], Sums], patience_s: float = TELLING_S) -> float:
    """The share of the requests since `before` that the shadow heard.

    Copies may lag a little behind the last answer. Raises BenchError when more are missing than the proxy says.
    """
    ends = time.monotonic() + patience_s
    looks = 0
    while True:
        now = look()
        looks += 1
        requests, copies = now.requests - before.requests - looks, now.copies - before.copies - looks
        dropped = now.told.dropped - before.told.dropped
        if requests > 0 and copies + dropped >= MIRRORED * requests:
            return copies / requests
        if time.monotonic() > ends:
            raise BenchError(
                f"{name}: of {requests} requests the shadow heard {copies}, and only {dropped} are said to be dropped"
            )
        threading.Event().wait(LOOK_S)


def full(lab: Lab, name: str, path: str = FULL_PATH) -> None:
    """Flags, split and mirror. What control and worker spend apart is written down as the scenario `pairs`."""
    with contextlib.ExitStack() as stack:
        chain = Chain(lab, stack)
        for _ in range(lab.options.rounds):
            for subject in chain.subjects:
                before = chain.sums(subject)
                found, disturbance = chain.round(subject, path)
                share = heard(subject.name, before, partial(chain.sums, subject))
                lab.add(name, subject.name, {**found.figures(), "mirrored_share": share, **disturbance})
                if subject.name == "understudy" and path == FULL_PATH:
                    lost = told(subject).pairs_lost - before.told.pairs_lost
                    requests = chain.sums(subject).requests - before.requests
                    lab.add("pairs", subject.name, {**apart(subject, found), "pairs_lost_share": lost / requests})


def apart(subject: Subject, found: Window) -> dict[str, float]:
    """What control spends on each pair, and the worker on each request. Raises BenchError when there was no pair."""
    if subject.child is None or not found.copies:
        raise BenchError(f"{subject.name}: no request was mirrored, so there are no pairs")
    control_ns = found.cpu_ns[subject.child.popen.pid]
    workers_ns = sum(found.cpu_ns.values()) - control_ns
    return {
        "pairs_per_s": found.copies / found.wall_s,
        "control_us_per_pair": control_ns / 1e3 / found.copies,
        "worker_us_per_request": workers_ns / 1e3 / found.requests,
    }


def deciding(lab: Lab, name: str) -> None:
    """Flags and split alone, against the same process without any filter: the one after the other, round by round."""
    with contextlib.ExitStack() as stack:
        chain = Chain(lab, stack)
        for _ in range(lab.options.rounds):
            for subject in chain.subjects:
                without, _ = chain.round(subject, PLAIN_PATH)
                found, disturbance = chain.round(subject, DECIDING_PATH)
                figures, plain_us = found.figures(), without.figures()["cpu_us_per_request"]
                over = {"plain_us": plain_us, "over_plain_us": figures["cpu_us_per_request"] - plain_us}
                lab.add(name, subject.name, {**figures, **over, **disturbance})
