"""Compiles `Match` and `Condition` into functions of a request.

Everything that can be decided once is decided here: names are lowered, strings encoded, regexes compiled. What is left
for a request is one closure call per condition. The structs are taken as checked: a mistake in them may raise here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from .api import Request
from .matching import Condition, Match, ValueMatch, compile_regex
from .subjects import cookies, host_of, normal_path, parameters

Predicate: TypeAlias = Callable[[Request], bool]
PathTest: TypeAlias = Callable[[bytes], bool]
ValueTest: TypeAlias = Callable[[bytes], bool]


def compile_condition(condition: Condition) -> Predicate:
    """The predicate of one condition of `when:`. Pure; for requests whose head is in."""
    (subject,) = condition.subjects()
    return _BUILDERS[subject](condition)


def compile_match(match: Match) -> Predicate:
    """The predicate of a whole `match:`. A router, which finds paths by index, asks `compile_rest` instead."""
    if match.path is None and match.path_prefix in (None, "/") and match.path_regex is None:
        return compile_rest(match)
    return all_of([_path(path_test(match)), compile_rest(match)])


def compile_rest(match: Match) -> Predicate:
    """What a `match:` asks besides how the path is or begins; `always` where that is nothing."""
    tests: list[Predicate] = []
    if match.path_suffix is not None:  # it stands beside a prefix, by which a router finds
        tests.append(_path(suffix_test(match.path_suffix)))
    if match.methods:
        tests.append(_method(match.methods))
    if match.hosts and "*" not in match.hosts:
        tests.append(_host(match.hosts))
    tests += [_header(name, value_match(test)) for name, test in match.headers.items()]
    tests += [_parameter(name, value_match(test)) for name, test in match.query.items()]
    tests += [_cookie(name, value_match(test)) for name, test in match.cookies.items()]
    if match.when is not None:
        tests.append(compile_condition(match.when))
    return all_of(tests)


def path_test(owner: Match | Condition) -> PathTest:
    """The test of a path in its `normal_path` spelling, by the form that is given; none takes all."""
    if owner.path is not None:
        return normal_path(owner.path.encode()).__eq__
    if owner.path_regex is not None:
        full_match = compile_regex(owner.path_regex).fullmatch
        return lambda path: full_match(path) is not None
    if owner.path_suffix is not None and owner.path_prefix is None:
        return suffix_test(owner.path_suffix)
    prefix = normal_path((owner.path_prefix or "/").encode())
    if prefix == b"/":
        return lambda path: True
    if prefix.endswith(b"/"):
        return lambda path: path.startswith(prefix)
    segments = prefix + b"/"
    return lambda path: path == prefix or path.startswith(segments)


def suffix_test(suffix: str) -> PathTest:
    """Whether a path in its `normal_path` spelling ends so."""
    end = normal_path(suffix.encode())
    return lambda path: path.endswith(end)


def value_test(test: ValueMatch) -> ValueTest:
    """The test of a value that is there, by the operator given."""
    if test.range is not None:
        return _range(*test.range)
    if test.regex is not None:
        full_match = compile_regex(test.regex, ignore_case=test.ignore_case).fullmatch
        return lambda value: full_match(value) is not None
    exact = _string_test(test)
    return (lambda value: exact(value.lower())) if test.ignore_case else exact


def value_match(test: str | ValueMatch) -> ValueMatch:
    """The short form of a test, a bare string, means `equals`."""
    return ValueMatch(equals=test) if isinstance(test, str) else test


def always(request: Request) -> bool:
    """Holds for every request."""
    return True


def all_of(tests: list[Predicate]) -> Predicate:
    """Holds where every one does; they are asked in order and the first that fails ends it."""
    tests = [test for test in tests if test is not always]
    match tests:
        case []:
            return always
        case [only]:
            return only
        case [first, second]:
            return lambda request: first(request) and second(request)
    some = tuple(tests)

    def every(request: Request) -> bool:
        for test in some:  # noqa: SIM110 (a generator would cost more than the conditions do)
            if not test(request):
                return False
        return True

    return every


def _any_of(tests: Iterable[Predicate]) -> Predicate:
    several = tuple(tests)

    def some(request: Request) -> bool:
        for test in several:  # noqa: SIM110 (see all_of)
            if test(request):
                return True
        return False

    return some


def _not(test: Predicate) -> Predicate:
    return lambda request: not test(request)


def _header(name: str, test: ValueMatch) -> Predicate:
    key = name.lower().encode()
    if test.present is not None:
        wanted = test.present
        return lambda request: (request.get(key) is not None) is wanted
    if test.equals is not None and not test.ignore_case:
        expected = test.equals.encode()
        return lambda request: request.get(key) == expected
    passes = value_test(test)

    def holds(request: Request) -> bool:
        value = request.get(key)
        return value is not None and passes(value)

    return holds


def _cookie(name: str, test: ValueMatch) -> Predicate:
    key = name.encode()

    def values(request: Request) -> list[bytes]:
        header = request.get(b"cookie")
        return cookies(header, key) if header else []

    return _any_value(values, test)


def _parameter(name: str, test: ValueMatch) -> Predicate:
    key = name.encode()
    return _any_value(lambda request: parameters(request.query, key) if request.query else [], test)


def _any_value(values: Callable[[Request], list[bytes]], test: ValueMatch) -> Predicate:
    if test.present is not None:
        wanted = test.present
        return lambda request: bool(values(request)) is wanted
    passes = value_test(test)
    return lambda request: any(map(passes, values(request)))


def _path(test: PathTest) -> Predicate:
    return lambda request: test(normal_path(request.path))


def _method(methods: Iterable[str]) -> Predicate:
    several = frozenset(method.encode() for method in methods)
    if len(several) == 1:
        (only,) = several
        return lambda request: request.method == only
    return lambda request: request.method in several


def _host(patterns: Iterable[str]) -> Predicate:
    names = [pattern.lower().removesuffix(".").encode() for pattern in patterns]
    if b"*" in names:
        return always
    exact = frozenset(name for name in names if not name.startswith(b"*."))
    below = tuple(name[1:] for name in names if name.startswith(b"*."))

    def holds(request: Request) -> bool:
        host = host_of(request.authority)
        return host in exact or (host.endswith(below) and not host.startswith(b"."))

    return holds


def _string_test(test: ValueMatch) -> ValueTest:
    def encoded(text: str) -> bytes:
        return text.encode().lower() if test.ignore_case else text.encode()

    if test.equals is not None:
        return encoded(test.equals).__eq__
    if test.one_of is not None:
        return frozenset(map(encoded, test.one_of)).__contains__
    if test.prefix is not None:
        prefix = encoded(test.prefix)
        return lambda value: value.startswith(prefix)
    if test.suffix is not None:
        suffix = encoded(test.suffix)
        return lambda value: value.endswith(suffix)
    assert test.contains is not None
    contained = encoded(test.contains)
    return lambda value: contained in value


def _range(first: int, end: int) -> ValueTest:
    def holds(value: bytes) -> bool:
        digits = value.removeprefix(b"-")
        return digits.isdigit() and len(digits) < 20 and first <= int(value) < end  # 64 bits have 19 digits

    return holds


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


_BUILDERS: Mapping[str, Callable[[Condition], Predicate]] = {
    "header": lambda condition: _header(condition.header or "", condition),
    "cookie": lambda condition: _cookie(condition.cookie or "", condition),
    "query": lambda condition: _parameter(condition.query or "", condition),
    "path": lambda condition: _path(path_test(condition)),
    "path_prefix": lambda condition: _path(path_test(condition)),
    "path_suffix": lambda condition: _path(path_test(condition)),
    "path_regex": lambda condition: _path(path_test(condition)),
    "method": lambda condition: _method(_several(condition.method or ())),
    "host": lambda condition: _host(_several(condition.host or ())),
    "all": lambda condition: all_of([compile_condition(each) for each in condition.every or ()]),
    "any": lambda condition: _any_of([compile_condition(each) for each in condition.some or ()]),
    "not": lambda condition: _not(compile_condition(condition.negated or Condition())),
}
