"""`type: flags`: its YAML, and what its rules decide. The golden files hold the wording of every mistake."""

from __future__ import annotations

import msgspec
import pytest
import yaml
from understudy.filters.api import Exchange, Failure, Response
from understudy.filters.flags import FlagsConfig, FlagsFilter
from understudy.filters.split import SplitConfig, SplitFilter

from tests.kit.heads import request
from tests.kit.services import FakeServices, exchange_of

EXAMPLES = [
    """
    type: flags
    rules:
      - {flag: pin, when: {header: x-variant, in: [stable, canary]}, backend_from: X-Variant}
      - {flag: tenant, backend_from: {header: x-tenant, map: {acme: canary}}, from: trusted}
      - {flag: list, backend_from: {header: x-tenant, in: [stable]}, owner: ml-platform}
    """,
    """
    type: flags
    rules:
      - flag: trial
        kind: experiment
        expires: "2030-12-31"
        when: {not: {header: x-region, prefix: us-}}
        percent: 2.5
        key: {first: [{header: x-user-id}, {jwt: sub}, client_address], missing: random}
        salt: ranker-v2
        backend: canary
        set_headers: {x-trial: "1", authorization: {file: token}}
        skip: [mirror, headers]
    """,
]


def rules(text: str) -> FlagsConfig:
    return msgspec.convert({"type": "flags", "rules": yaml.safe_load(text)}, FlagsConfig)


def test_every_backend_that_a_rule_names_is_known_with_its_place() -> None:
    config = msgspec.convert(yaml.safe_load(EXAMPLES[0]), FlagsConfig)
    assert config.references() == [
        (("rules", 0, "when", "in", 0), "stable"),
        (("rules", 0, "when", "in", 1), "canary"),
        (("rules", 1, "backend_from", "map", "acme"), "canary"),
        (("rules", 2, "backend_from", "in", 0), "stable"),
    ]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("{header: X-A, equals: b}", [(("rules", 0, "when", "equals"), "b")]),
        ("{all: [{method: GET}, {header: x-a, in: [b]}]}", [(("rules", 0, "when", "all", 1, "in", 0), "b")]),
        ("{any: [{method: GET}, {header: x-a, in: [b]}]}", []),
        ("{not: {header: x-a, in: [b]}}", []),
        ("{header: x-other, in: [b]}", []),
        ("{header: x-a, present: true}", []),
    ],
)
def test_a_bare_header_may_name_the_backends_that_when_insists_on(
    when: str, expected: list[tuple[tuple[str | int, ...], str]]
) -> None:
    config = rules(f"[{{flag: a, when: {when}, backend_from: x-a}}]")
    assert config.references() == expected
    wrong = [] if expected else [("rules", 0, "backend_from")]
    assert [path for path, _ in config.mistakes()] == wrong


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[]", ("rules",)),
        ("[{flag: ''  , backend: a}]", ("rules", 0, "flag")),
        ("[{flag: a}]", ("rules", 0)),
        ("[{flag: a, skip: [split]}, {flag: a, backend: b}]", ("rules", 1, "flag")),
        ("[{flag: a, backend: b, backend_from: x-c}]", ("rules", 0, "backend_from")),
        ("[{flag: a, backend_from: 'x c'}]", ("rules", 0, "backend_from")),
        ("[{flag: a, backend_from: {header: x-c}}]", ("rules", 0, "backend_from")),
        ("[{flag: a, backend_from: {header: x-c, in: [b], map: {c: d}}}]", ("rules", 0, "backend_from")),
        ("[{flag: a, backend: b, when: {header: x-c, regex: '('}}]", ("rules", 0, "when", "regex")),
        ("[{flag: a, backend: b, key: {}}]", ("rules", 0, "key")),
        ("[{flag: a, backend: b, salt: ''}]", ("rules", 0, "salt")),
        ("[{flag: a, backend: b, key: {first: [{header: 'x c'}]}}]", ("rules", 0, "key", "first", 0, "header")),
        ("[{flag: a, set_headers: {te: b}}]", ("rules", 0, "set_headers", "te")),
    ],
)
def test_a_mistake_says_where_it_is(text: str, where: tuple[str | int, ...]) -> None:
    assert [path for path, _ in rules(text).mistakes()] == [where]


@pytest.mark.parametrize("text", ["[{flag: a, skip: [dedup]}]", "[{flag: a, backend: b, percent: 100.1}]"])
def test_types_refuse_the_rest(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        rules(text)


# What the rules decide.


def decided(text: str, head: str = "POST /infer HTTP/1.1", *, trusted: bool = False) -> Exchange:
    exchange = exchange_of(request(head), trusted=trusted)
    config = rules(text)
    assert config.mistakes() == []
    FlagsFilter(config, FakeServices()).on_request(exchange)
    return exchange


def test_for_each_effect_the_first_matching_rule_decides() -> None:
    text = """
      - {flag: other-region, when: {header: x-region, prefix: us-}, backend: never}
      - {flag: one, when: {header: x-region, prefix: eu-}, set_headers: {x-a: "1", x-b: "1"}, skip: [mirror]}
      - {flag: two, backend: canary, set_headers: {X-B: "2", x-c: "2"}, skip: [mirror]}
      - {flag: three, backend: next, set_headers: {x-c: "3"}, skip: [mirror]}
      - {flag: four, backend: next, skip: [split, mirror]}
    """
    exchange = decided(text, "GET / HTTP/1.1\nx-region: eu-1\nx-c: client\nx-c: twice")
    assert (exchange.backend, exchange.chosen) == ("canary", True)
    assert exchange.flags == ["one", "two", "four"]
    assert exchange.skips == {"mirror", "split"}
    assert exchange.request.headers == [
        (b"x-region", b"eu-1"), (b"x-a", b"1"), (b"x-b", b"1"), (b"x-c", b"2"),
    ]  # fmt: skip


def test_where_no_rule_matches_nothing_is_touched() -> None:
    exchange = decided("[{flag: a, when: {header: x-a, present: true}, backend: canary, skip: [mirror]}]")
    assert (exchange.backend, exchange.chosen, exchange.flags, exchange.skips) == ("stable", False, None, None)


def test_a_flag_may_choose_the_backend_that_the_route_has_anyway() -> None:
    exchange = decided("[{flag: pin, backend: stable}]")
    assert (exchange.backend, exchange.chosen, exchange.flags) == ("stable", True, ["pin"])


def test_conditions_see_the_request_as_it_came() -> None:
    text = "[{flag: a, set_headers: {x-a: '1'}}, {flag: b, when: {header: x-a, equals: '1'}, backend: canary}]"
    assert decided(text).flags == ["a"]
    assert decided(text, "GET / HTTP/1.1\nx-a: 1").backend == "canary"


@pytest.mark.parametrize(
    ("source", "value", "backend"),
    [
        ("{header: X-Model, in: [canary, next]}", "next", "next"),
        ("{header: X-Model, in: [canary, next]}", "stable", None),
        ("{header: X-Model, in: [canary, next]}", "Canary", None),
        ("{header: X-Model, map: {acme: canary}}", "acme", "canary"),
        ("{header: X-Model, map: {acme: canary}}", "canary", None),
        ("X-Model, when: {header: x-model, in: [canary]}", "canary", "canary"),
        ("X-Model, when: {header: x-model, in: [canary]}", "next", None),
    ],
)
def test_a_header_names_the_backend_where_the_rule_allows_it_else_the_rule_does_not_match(
    source: str, value: str, backend: str | None
) -> None:
    text = f"[{{flag: pin, backend_from: {source}, skip: [mirror]}}]"
    exchange = decided(text, f"GET / HTTP/1.1\nx-model: {value}")
    assert exchange.backend == (backend or "stable")
    assert exchange.flags == (["pin"] if backend else None)
    assert exchange.skips == ({"mirror"} if backend else None)


@pytest.mark.parametrize(
    ("when", "value", "backend"),
    [
        ("{header: x-v, in: [stable, canary], ignore_case: true}", "Canary", "canary"),
        ("{header: X-V, equals: Canary, ignore_case: true}", "CANARY", "Canary"),
        ("{header: x-v, in: [Canary, canary], ignore_case: true}", "Canary", "Canary"),
        ("{all: [{method: POST}, {header: x-v, equals: canary, ignore_case: true}]}", "cAnary", "canary"),
        ("{header: x-v, in: [stable, canary]}", "Canary", ""),
    ],
)
def test_a_bare_header_names_a_backend_in_any_case_where_the_condition_takes_any(
    when: str, value: str, backend: str
) -> None:
    exchange = decided(f"[{{flag: pin, when: {when}, backend_from: x-v}}]", f"POST / HTTP/1.1\nx-v: {value}")
    assert (exchange.backend if exchange.chosen else "") == backend


def test_a_rule_that_is_switched_off_or_wants_a_trusted_peer_does_not_match_others() -> None:
    assert decided("[{flag: a, enabled: false, backend: canary}]").flags is None
    assert decided("[{flag: a, from: trusted, backend: canary}]").flags is None
    assert decided("[{flag: a, from: trusted, backend: canary}]", trusted=True).flags == ["a"]


def test_a_percentage_of_those_that_match_is_in_and_the_rest_are_as_if_not_matched() -> None:
    text = """
      - flag: trial
        when: {header: x-region, prefix: eu-}
        percent: 30
        key: {header: x-user-id}
        backend: canary
        skip: [mirror]
      - {flag: rest, set_headers: {x-rest: "1"}}
    """
    flags = FlagsFilter(rules(text), FakeServices())
    seen = {}
    for number in range(2_000):
        for region in ("eu-1", "us-1", "eu-2"):
            exchange = exchange_of(request(f"POST / HTTP/1.1\nx-user-id: u{number}\nx-region: {region}"))
            flags.on_request(exchange)
            inside = exchange.flags == ["trial", "rest"]
            assert inside or exchange.flags == ["rest"]
            assert exchange.backend == ("canary" if inside else "stable")
            assert exchange.skips == ({"mirror"} if inside else None)
            assert not (inside and region == "us-1")
            if region != "us-1":
                assert seen.setdefault(number, inside) is inside, "sticky to the user"
    assert 530 <= sum(seen.values()) <= 670


@pytest.mark.parametrize(
    ("missing", "least", "most"), [("backend", 0, 0), ("random", 400, 600)], ids=["as-if-not-matched", "drawn"]
)
def test_without_a_key_a_percentage_is_missed_or_drawn(missing: str, least: int, most: int) -> None:
    text = f"[{{flag: a, percent: 50, key: {{header: x-user-id, missing: {missing}}}, backend: canary}}]"
    flags = FlagsFilter(rules(text), FakeServices())
    inside = 0
    for _ in range(1_000):
        exchange = exchange_of(request("POST / HTTP/1.1"))
        flags.on_request(exchange)
        inside += exchange.chosen
    assert least <= inside <= most


def test_without_a_key_a_rule_may_refuse_but_not_one_that_does_not_match_or_has_nothing_left_to_decide() -> None:
    text = """
      - {flag: pin, when: {header: x-pin, present: true}, backend: next}
      - flag: trial
        when: {method: POST}
        percent: 50
        key: {header: x-user-id, missing: refuse}
        backend: canary
    """
    with pytest.raises(Failure, match="header x-user-id"):
        decided(text)
    assert decided(text, "GET / HTTP/1.1").flags is None
    assert decided(text, "POST / HTTP/1.1\nx-pin: 1").flags == ["pin"]


def test_a_cookie_that_the_draw_needs_is_issued_whoever_is_in() -> None:
    text = "[{flag: a, when: {method: POST}, percent: 50, key: {cookie: arm, issue: true}, backend: canary}]"
    flags = FlagsFilter(rules(text), FakeServices())
    seen = set()
    for _ in range(50):
        exchange = exchange_of(request("POST / HTTP/1.1"))
        flags.on_request(exchange)
        answer = flags.on_response(exchange, Response(503, [], local=True))
        (line,) = answer.headers
        assert line[0] == b"set-cookie" and line[1].startswith(b"arm=")
        again = exchange_of(request(f"POST / HTTP/1.1\ncookie: {line[1].partition(b';')[0].decode()}"))
        flags.on_request(again)
        assert again.chosen is exchange.chosen
        assert flags.on_response(again, Response(200, [])).headers == []
        seen.add(exchange.chosen)
    assert seen == {True, False}
    other = exchange_of(request("GET / HTTP/1.1"))
    flags.on_request(other)
    assert flags.on_response(other, Response(200, [])).headers == []


def test_a_backend_that_is_chosen_behind_a_split_leaves_no_arm() -> None:
    exchange = exchange_of(request("GET / HTTP/1.1"))
    exchange.experiment, exchange.arm, exchange.backend = "ranker", "canary", "canary"
    FlagsFilter(rules("[{flag: pin, backend: stable}]"), FakeServices()).on_request(exchange)
    assert (exchange.experiment, exchange.arm, exchange.backend) == ("", "", "stable")


def test_two_filters_of_flags_let_the_first_choose() -> None:
    exchange = decided("[{flag: one, backend: canary, skip: [headers]}]")
    FlagsFilter(rules("[{flag: two, backend: next}, {flag: three, skip: [mirror]}]"), FakeServices()).on_request(
        exchange
    )
    assert (exchange.backend, exchange.flags, exchange.skips) == ("canary", ["one", "three"], {"headers", "mirror"})
    again = "[{flag: four, skip: [mirror]}, {flag: five, backend: next, percent: 1, key: {header: u, missing: refuse}}]"
    told = FlagsFilter(rules(again), FakeServices()).explain(exchange)
    assert exchange.flags == ["one", "three"]
    assert told.words == tuple(f"not {flag}: earlier rules have decided all that it could" for flag in ("four", "five"))


def test_explain_tells_rule_by_rule_what_matched_and_why_not() -> None:
    text = """
      - {flag: dogfood, when: {header: x-employee, equals: "true"}, backend: canary}
      - {flag: pin, backend_from: {header: x-model, in: [canary]}}
      - {flag: inside, from: trusted, backend: canary}
      - {flag: halted, enabled: false, backend: canary}
      - {flag: trial, percent: 1, key: {header: x-user-id}, backend: canary}
      - {flag: nobody, percent: 1, key: {cookie: sid}, backend: canary}
      - {flag: eu, when: {all: [{header: x-region, prefix: eu-}, {method: POST}]}, backend: next, skip: [mirror]}
      - {flag: late, backend: canary}
    """
    config = rules(text)
    exchange = exchange_of(request("POST / HTTP/1.1\nx-region: eu-1\nx-user-id: u1\nx-model: other"))
    told = FlagsFilter(config, FakeServices()).explain(exchange)
    assert [line.partition(" (")[0] for line in told.words] == [
        'not dogfood: header x-employee is absent, wanted {"equals": "true"}',
        'not pin: header x-model is "other", wanted {"in": ["canary"]}',
        "not inside: the peer is not in the listener's trust",
        "not halted: it is switched off",
        "not trial: the draw leaves it out",
        "not nobody: its key is none: the request has no cookie sid",
        "flag eu: backend next; skips mirror",
        "not late: earlier rules have decided all that it could",
    ]
    assert "(1 % by header x-user-id, hash " in told.words[4] and "canary scores " in told.words[4]
    assert [rule["verdict"] for rule in told.facts["rules"]] == [
        "unmet", "unnamed", "untrusted", "disabled", "outside", "keyless", "matched", "settled",
    ]  # fmt: skip
    assert told.facts["flags"] == ["eu"]
    assert {each["arm"] for each in told.facts["rules"][4]["draw"]["arms"]} == {"canary", "stable"}
    assert "u1" not in str(told), "a key is told by its hash"
    assert msgspec.json.encode(told.facts)


def test_explain_tells_the_names_of_headers_and_no_value() -> None:
    told = FlagsFilter(rules("[{flag: a, set_headers: {authorization: s3cret}}]"), FakeServices()).explain(
        exchange_of(request("GET / HTTP/1.1"))
    )
    assert told.words == ("flag a: sets authorization",)
    assert "s3cret" not in str(told)


def test_explain_tells_of_each_rule_only_what_it_decided() -> None:
    text = """
      - {flag: one, set_headers: {x-a: "1"}, skip: [mirror]}
      - {flag: two, set_headers: {x-a: "2", x-b: "2"}, skip: [mirror, split], backend: canary}
    """
    told = FlagsFilter(rules(text), FakeServices()).explain(exchange_of(request("GET / HTTP/1.1")))
    assert told.words == ("flag one: sets x-a; skips mirror", "flag two: backend canary; sets x-b; skips split")
    assert [rule["skip"] for rule in told.facts["rules"]] == [["mirror"], ["split"]]


def test_whoever_a_flag_lets_in_at_1_percent_is_in_the_arm_of_10_percent_of_the_split_whose_salt_it_has() -> None:
    rule = "{flag: trial, percent: 1, key: {header: u}, backend: canary, salt: ranker}"
    split = msgspec.convert(
        {"type": "split", "experiment": "ranker", "key": {"header": "u"}, "arms": {"stable": 90, "canary": 10}},
        SplitConfig,
    )
    shared, own = (rules(f"[{text}]") for text in (rule, rule.replace(", salt: ranker", "")))
    inside = {}
    for name, config in (("shared", shared), ("own", own)):
        services = FakeServices()
        flags, arms = FlagsFilter(config, services), SplitFilter(split, services)
        inside[name] = []
        for number in range(10_000):
            exchange = exchange_of(request(f"GET / HTTP/1.1\nu: {number}"))
            flags.on_request(exchange)
            if exchange.chosen:
                exchange.chosen = False
                arms.on_request(exchange)
                inside[name].append(exchange.arm)
    assert 60 < len(inside["shared"]) < 140 and set(inside["shared"]) == {"canary"}
    assert inside["own"].count("stable") > 60
