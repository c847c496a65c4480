"""What deciding costs: five flag rules and a sticky split, in microseconds per request. Best of several repeats.

`python -m bench.micro.deciding`. Includes making the exchange anew, whose own cost is in the first line.
"""

from __future__ import annotations

import base64
import sys
import timeit
from collections.abc import Callable
from functools import partial
from itertools import cycle
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
from understudy.filters.api import Exchange, Filter, KeyTally, Request
from understudy.filters.bucketing import Race
from understudy.filters.cookies import Issuer
from understudy.filters.flags import FlagsConfig, FlagsFilter
from understudy.filters.split import SplitConfig, SplitFilter

REPEATS = 7
CALLS = 20_000
KEYS = 1_000

FLAGS = {
    "type": "flags",
    "rules": [
        {"flag": "dogfood", "when": {"header": "x-employee", "equals": "true"}, "backend": "canary"},
        {"flag": "pin", "when": {"header": "x-variant", "in": ["canary"]}, "backend_from": "x-variant"},
        {
            "flag": "eu",
            "when": {"all": [{"header": "x-region", "prefix": "eu-"}, {"method": "POST"}]},
            "skip": ["split"],
        },
        {
            "flag": "trial",
            "when": {"header": "x-plan", "equals": "free"},
            "percent": 1,
            "key": {"header": "x-user-id"},
            "salt": "ranker",
            "backend": "canary",
        },
        {"flag": "quiet", "when": {"header": "x-no-shadow", "present": True}, "skip": ["mirror"]},
    ],
}
SPLIT = {"type": "split", "experiment": "ranker", "arms": {"stable": 90, "canary": 10}}
SECRET = bytes(32)
_CLAIMS = base64.urlsafe_b64encode(b'{"iss": "idp", "sub": "user-1", "exp": 1900000000, "scope": "infer"}').rstrip(b"=")
_ISSUER = Issuer("arm", SECRET)


def services() -> Any:
    """What the filters ask a worker for."""
    use = KeyTally("ranker")
    return SimpleNamespace(
        rng=Random(1), secret=SECRET, available=lambda backend: True, key_use=lambda name: use, now=lambda: 0.0
    )


def requests(*extra: tuple[bytes, bytes]) -> list[Request]:
    """Of many users, as a client and the proxy's own fields make them; their fields are read by then."""
    found = []
    for number in range(KEYS):
        headers = [(b"content-type", b"application/json"), (b"accept", b"*/*"), (b"x-region", b"us-1")]
        headers += [(b"x-user-id", b"user-%d" % number), (b"x-plan", b"free"), *extra, (b"x-request-id", b"0" * 32)]
        request = Request(b"POST", b"/v2/models/iris/infer", b"model:7080", headers)
        assert request.fields
        found.append(request)
    return found


def cost_us(steps: list[Filter], asked: list[Request]) -> float:
    """Of one request, the exchange included."""
    hooks: list[Callable[[Exchange], Any]] = [step.on_request for step in steps]
    turn = cycle(asked)

    def one() -> None:
        exchange = Exchange(next(turn), "iris", "stable", b"0" * 32, "192.0.2.7", False)
        for hook in hooks:
            hook(exchange)

    return min(timeit.repeat(one, number=CALLS, repeat=REPEATS)) / CALLS * 1e6


def split(key: Any) -> SplitFilter:
    """A split of two arms by this key."""
    return SplitFilter(msgspec.convert(SPLIT | {"key": key}, SplitConfig), services())


def main() -> int:
    """Print the table."""
    by_header = {"header": "x-user-id"}
    flags = FlagsFilter(msgspec.convert(FLAGS, FlagsConfig), services())
    cookie = b"theme=dark; arm=" + _ISSUER.value(_ISSUER.new_id(Random(1)))
    plain = requests()
    bearer = requests((b"authorization", b"Bearer e30." + _CLAIMS + b".c2ln"))
    bare = cost_us([], plain)
    print(f"{'an exchange alone':44}{bare:7.2f}")
    for name, steps, asked in (
        ("5 flags, one draws", [flags], plain),
        ("split by a header", [split(by_header)], plain),
        ("5 flags and the split", [flags, split(by_header)], plain),
        ("split by a claim", [split({"jwt": "sub"})], bearer),
        ("split by an issued cookie", [split({"cookie": "arm", "issue": True})], requests((b"cookie", cookie))),
        ("split by chance", [split("random")], plain),
    ):
        print(f"{name:44}{cost_us(list(steps), asked) - bare:7.2f}")
    for count in (2, 3, 10):
        race = Race("ranker", {f"arm-{at}": 1.0 + at for at in range(count)})
        draw = partial(race.winner, b"user-1")
        each = min(timeit.repeat(draw, number=CALLS, repeat=REPEATS)) / CALLS * 1e6
        print(f"{f'the draw among {count} arms':44}{each:7.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
