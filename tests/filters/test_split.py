"""`type: split`: its YAML, and which arm it chooses."""

from __future__ import annotations

import msgspec
import pytest
import yaml
from understudy.config.snapshot import Chain
from understudy.filters.api import Exchange, Failure, Response
from understudy.filters.bucketing import Race
from understudy.filters.split import SplitConfig, SplitFilter

from tests.kit.heads import request
from tests.kit.services import FakeServices, exchange_of

EXAMPLES = [
    "{type: split, experiment: a, key: random, arms: {stable: 90, canary: 10}}",
    """
    type: split
    experiment: a-a
    salt: shared
    key: {cookie: sid, issue: true, missing: refuse}
    on_unavailable: next
    arms:
      left: {backend: stable, weight: 0.5, set_headers: {x-arm: left}}
      right: {backend: stable, weight: 0.5}
      stable: {weight: 0}
    """,
]


def config_of(text: str) -> SplitConfig:
    return msgspec.convert(yaml.safe_load(text), SplitConfig)


def test_an_arm_is_a_backend_unless_it_names_one() -> None:
    assert config_of(EXAMPLES[1]).references() == [
        (("arms", "left", "backend"), "stable"),
        (("arms", "right", "backend"), "stable"),
        (("arms", "stable"), "stable"),
    ]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"experiment": ""}, ("experiment",)),
        ({"key": {}}, ("key",)),
        ({"key": {"header": "a", "cookie": "b"}}, ("key",)),
        ({"key": {"first": []}}, ("key", "first")),
        ({"key": {"jwt": ""}}, ("key", "jwt")),
        ({"key": {"header": "a", "issue": True}}, ("key", "issue")),
        ({"salt": ""}, ("salt",)),
        ({"arms": {}}, ("arms",)),
        ({"arms": {"": {"backend": "a", "weight": 1}}}, ("arms", "")),
        ({"arms": {"a": 0, "b": {"weight": 0}}}, ("arms",)),
        ({"arms": {"a": {"weight": 1, "set_headers": {"x": "\n"}}}}, ("arms", "a", "set_headers", "x")),
    ],
)
def test_a_mistake_says_where_it_is(changes: dict[str, object], where: tuple[str | int, ...]) -> None:
    config = msgspec.convert(yaml.safe_load(EXAMPLES[0]) | changes, SplitConfig)
    assert [path for path, _ in config.mistakes()] == [where]


@pytest.mark.parametrize("weight", [-1, 1_000_001, "x", float("nan")])
def test_a_weight_is_a_share(weight: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(yaml.safe_load(EXAMPLES[0]) | {"arms": {"a": weight}}, SplitConfig)


# Which arm.

USERS = "{type: split, experiment: ranker, key: {header: x-user-id}, arms: {stable: 90, canary: 10}}"


def split_of(text: str, services: FakeServices | None = None) -> SplitFilter:
    config = config_of(text)
    assert config.mistakes() == []
    return SplitFilter(config, services or FakeServices())


def asked(split: SplitFilter, fields: str = "") -> Exchange:
    exchange = exchange_of(request(f"POST /infer HTTP/1.1\n{fields}"))
    split.on_request(exchange)
    return exchange


def user(arm: str, salt: str = "ranker") -> str:
    """A user of this arm."""
    race = Race(salt, {"stable": 90, "canary": 10})
    return next(f"u{n}" for n in range(1_000) if race.arms[race.winner(b"u%d" % n)] == arm)


def test_the_arm_with_the_largest_score_answers_and_the_exchange_says_so() -> None:
    services = FakeServices()
    split = split_of(USERS, services)
    for arm in ("stable", "canary"):
        exchange = asked(split, f"x-user-id: {user(arm)}")
        assert (exchange.experiment, exchange.arm, exchange.backend, exchange.chosen) == ("ranker", arm, arm, False)
    assert (services.keys["ranker"].requests, services.keys["ranker"].missing) == (2, 0)
    assert sorted(services.keys["ranker"].hot.values()) == [1, 1]


def test_the_salt_is_the_experiments_name_unless_given() -> None:
    shared = split_of(USERS.replace("ranker", "other, salt: ranker"))
    renamed = split_of(USERS.replace("ranker", "other"))
    plain = split_of(USERS)
    fields = [f"x-user-id: u{number}" for number in range(300)]
    arms = [asked(plain, each).arm for each in fields]
    assert [asked(shared, each).arm for each in fields] == arms
    assert [asked(renamed, each).arm for each in fields] != arms


def test_an_arm_is_a_backend_of_any_name_with_headers_of_its_own() -> None:
    split = split_of("""
        {type: split, experiment: a-a, key: {header: x-user-id},
         arms: {left: {backend: stable, weight: 1, set_headers: {X-Arm: left}}, right: {backend: stable, weight: 1}}}
    """)
    seen = set()
    for number in range(40):
        exchange = asked(split, f"x-user-id: u{number}\nx-arm: mine")
        assert exchange.backend == "stable"
        assert exchange.request.get(b"x-arm") == (b"left" if exchange.arm == "left" else b"mine")
        seen.add(exchange.arm)
    assert seen == {"left", "right"}


def test_a_backend_that_a_flag_chose_is_left_alone_be_it_the_routes_own() -> None:
    services = FakeServices()
    split = split_of(USERS, services)
    exchange = exchange_of(request(f"POST / HTTP/1.1\nx-user-id: {user('canary')}"))
    exchange.chosen = True
    split.on_request(exchange)
    assert (exchange.backend, exchange.arm, exchange.experiment) == ("stable", "", "")
    assert services.keys["ranker"].requests == 0


def test_a_missing_key_leaves_the_backend_is_drawn_or_refused_and_counted() -> None:
    services = FakeServices()
    exchange = asked(split_of(USERS, services))
    assert (exchange.backend, exchange.arm, exchange.experiment) == ("stable", "", "")
    drawn = split_of(USERS.replace("x-user-id", "x-user-id, missing: random"), services)
    assert {asked(drawn).arm for _ in range(200)} == {"stable", "canary"}
    with pytest.raises(Failure) as failure:
        asked(split_of(USERS.replace("x-user-id", "x-user-id, missing: refuse"), services))
    assert failure.value.reason == "key_missing"
    assert services.keys["ranker"].missing == 202
    assert services.keys["ranker"].requests == 0


def test_a_retry_keeps_its_arm_where_the_key_is_missing() -> None:
    split = split_of(USERS.replace("x-user-id", "x-user-id, missing: random").replace("90", "10"))
    for number in range(20):
        fields = f"idempotency-key: k{number}"
        assert len({asked(split, fields).arm for _ in range(5)}) == 1


def test_random_draws_are_requests_with_a_key_that_nobody_shares() -> None:
    services = FakeServices()
    split = split_of(EXAMPLES[0], services)
    for _ in range(100):
        asked(split)
    use = services.keys["a"]
    assert (use.requests, use.missing, use.hot) == (100, 0, {})


def test_an_arm_without_an_endpoint_is_kept_or_its_users_and_only_they_move_on() -> None:
    services = FakeServices()
    arms = "arms: {a: 40, b: 30, c: 30, drained: 0}"
    fails = split_of(f"{{type: split, experiment: e, key: {{header: u}}, {arms}}}", services)
    moves = split_of(f"{{type: split, experiment: e, key: {{header: u}}, on_unavailable: next, {arms}}}", services)
    fields = [f"u: {number}" for number in range(500)]
    before = [asked(moves, each).arm for each in fields]
    services.down = {"b"}
    assert [asked(fails, each).arm for each in fields] == before
    after = [asked(moves, each).arm for each in fields]
    assert all(now == was for was, now in zip(before, after, strict=True) if was != "b")
    assert {now for was, now in zip(before, after, strict=True) if was == "b"} == {"a", "c"}
    without = split_of(f"{{type: split, experiment: e, key: {{header: u}}, {arms.replace('b: 30', 'b: 0')}}}")
    assert [asked(without, each).arm for each in fields] == after, "the next best is who wins without it"
    services.down = {"a", "b", "c"}
    assert [asked(moves, each).arm for each in fields] == before


COOKIE = "{type: split, experiment: ranker, key: {cookie: arm, issue: true}, arms: {stable: 50, canary: 50}}"


def sent(split: SplitFilter, exchange: Exchange, response: Response | None = None) -> list[str]:
    answer = split.on_response(exchange, response or Response(200, []))
    return [value.decode() for name, value in answer.headers if name == b"set-cookie"]


def test_every_arm_every_local_answer_and_every_flag_sends_the_cookie_alike() -> None:
    services = FakeServices()
    split = split_of(COOKIE, services)
    arms = set()
    for _ in range(50):
        first = asked(split)
        (line,) = sent(split, first, Response(502, [], local=True))
        again = asked(split, f"cookie: {line.partition(';')[0]}")
        assert again.arm == first.arm, "it sticks from the first answer"
        assert sent(split, again) == []
        arms.add(first.arm)
    assert arms == {"stable", "canary"}
    chosen = exchange_of(request("POST / HTTP/1.1"))
    chosen.chosen = True
    split.on_request(chosen)
    assert len(sent(split, chosen)) == 1
    use = services.keys["ranker"]
    assert (use.requests, use.issued, use.missing) == (100, 51, 0)


def test_answers_pass_by_a_split_that_issues_no_cookie() -> None:
    assert Chain.of([("split", split_of(USERS))]).response == ()
    ((position, hook),) = Chain.of([("split", split_of(COOKIE))]).response
    assert (position, hook.__name__) == (0, "on_response")


def test_explain_tells_the_key_the_hash_the_scores_and_the_arm() -> None:
    services = FakeServices()
    split = split_of(USERS.replace("arms:", "on_unavailable: next, arms:"), services)
    canary = user("canary")
    exchange = exchange_of(request(f"POST / HTTP/1.1\nx-user-id: {canary}"))
    told = split.explain(exchange)
    assert exchange.backend == "canary"
    assert told.words[0] == "split ranker: arm canary, backend canary"
    assert told.words[1].startswith(f"  key: header x-user-id, hash {told.facts['key_hash']}: canary scores ")
    assert (told.facts["arm"], told.facts["why"]) == ("canary", "score")
    assert [each["arm"] for each in told.facts["arms"]] == ["canary", "stable"]
    assert told.facts["weights"] == {"stable": 90, "canary": 10}
    assert f'"{canary}"' not in str(told) and msgspec.json.encode(told.facts)
    services.down = {"canary"}
    told = split.explain(exchange_of(request(f"POST / HTTP/1.1\nx-user-id: {canary}")))
    assert told.words[0] == ("split ranker: arm stable, backend stable; canary comes first and has no healthy endpoint")


def test_explain_tells_why_there_is_no_arm() -> None:
    split = split_of(USERS)
    told = split.explain(exchange_of(request("POST / HTTP/1.1")))
    assert told.words == (
        "split ranker: no arm; the key is none: the request has no header x-user-id; the route's backend stays",
    )
    chosen = exchange_of(request("POST / HTTP/1.1"))
    chosen.chosen = True
    assert split.explain(chosen).words == ("split ranker: no arm, a flag chose the backend",)
    told = split_of(COOKIE).explain(exchange_of(request("POST / HTTP/1.1")))
    assert told.words[-1] == "  the client is sent a cookie that keeps it in its arm"
