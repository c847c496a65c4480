"""What a route's `match:` and a filter's `when:` may say about a request: one vocabulary for both.

Only the shapes and the mistakes in them live here; `predicates.py` turns them into functions of a request. In YAML::

    match: {path_prefix: /v2/models/iris, methods: [POST], headers: {x-region: {prefix: eu-}, x-employee: "true"}}
    when: {all: [{header: x-region, prefix: eu-}, {not: {cookie: beta, present: true}}]}

How each subject is read
- header: the lines of one name joined by ", " (RFC 9110 section 5.3). Names fold case, values do not.
- cookie: RFC 6265 section 4.2.1; surrounding double quotes are no part of a value. Names and values keep their case.
- query: application/x-www-form-urlencoded: split at `&`, `+` is a space, percent-escapes decoded once.
  Where a cookie or parameter is repeated, one value that passes is enough: repeating it cannot escape a match.
- path: the bytes before `?`, percent-escapes decoded once for the comparison only, save those of `/ \\ % ? #` and of
  control bytes. A backend decodes `%61` to `a`, so `/%61dmin` must be matched as `/admin`; repeated slashes count.
- host: the authority without its port and without the root's trailing dot, case folded.

A condition on something absent is false, whatever the operator, except `present: false`; `not` is plain negation.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeAlias

import msgspec
import re2

Mistakes: TypeAlias = list[tuple[tuple[str | int, ...], str]]
"""(path inside the struct, what is wrong and what is allowed), as `FilterConfig.mistakes` returns them."""

MAX_DEPTH = 16
"""How deep `all`, `any` and `not` may nest."""

TOKEN = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
"""The characters of a method or a field name: RFC 9110 section 5.6.2."""

_AtLeastOne: TypeAlias = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]

_COMMON_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
_HOST = frozenset(string.ascii_letters + string.digits + "-._")


class ValueMatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How a value is tested: exactly one operator. Strings are compared as UTF-8 bytes."""

    equals: str | None = None  # the whole value
    one_of: tuple[str, ...] | None = msgspec.field(default=None, name="in")  # the whole value is one of these
    prefix: str | None = None  # the value begins so
    suffix: str | None = None  # the value ends so
    contains: str | None = None  # the value has this somewhere
    regex: str | None = None  # RE2 over bytes; the whole value must match, `.` matches every byte
    range: tuple[int, int] | None = None  # a decimal integer from the first up to, not including, the second
    present: bool | None = None  # true: there is a value, be it empty; false: there is none
    ignore_case: bool = False  # ASCII letters compare equal in both cases; not for range and present

    def operators(self) -> list[str]:
        """The operators given, by their names in YAML."""
        given = {name: getattr(self, attribute) for name, attribute in _OPERATORS.items()}
        return [name for name, value in given.items() if value is not None]

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        return list(self._operator_mistakes())

    def _operator_mistakes(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        given = self.operators()
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "has no operator"
            yield (), f"{found}; give exactly one of: {', '.join(_OPERATORS)}"
        for name in ("prefix", "suffix", "contains", "regex"):
            if getattr(self, name) == "":
                yield (name,), "is empty and would say nothing; for any value write present: true"
        if self.one_of is not None and not self.one_of:
            yield ("in",), "is an empty list, which no value is in; list at least one value"
        if self.regex:
            yield from regex_mistakes(self.regex, "regex", ignore_case=self.ignore_case)
        if self.range is not None and self.range[0] >= self.range[1]:
            first, end = self.range
            yield ("range",), f"[{first}, {end}] is empty: the end is not included and must be larger than the start"
        if self.ignore_case and given in (["range"], ["present"]):
            yield ("ignore_case",), f"has no meaning for {given[0]}; leave it out"


_OPERATORS = {each.encode_name: each.name for each in msgspec.structs.fields(ValueMatch) if each.name != "ignore_case"}


class Condition(ValueMatch, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One condition on a request: exactly one subject; `header`, `cookie` and `query` also take one operator."""

    header: str | None = None  # a field's name
    cookie: str | None = None  # a cookie's name
    query: str | None = None  # a parameter's name, not percent-encoded
    path: str | None = None  # the whole path
    path_prefix: str | None = None  # a prefix of the path, on segment borders
    path_suffix: str | None = None  # the path ends so, at any place: /infer, :predict
    path_regex: str | None = None  # RE2 over bytes; the whole path must match
    method: str | tuple[str, ...] | None = None  # the method is this, or one of these
    host: str | tuple[str, ...] | None = None  # a name, *.example.com for every name below it, or several
    every: tuple[Condition, ...] | None = msgspec.field(default=None, name="all")  # all of these hold
    some: tuple[Condition, ...] | None = msgspec.field(default=None, name="any")  # at least one of these holds
    negated: Condition | None = msgspec.field(default=None, name="not")  # this does not hold

    def subjects(self) -> list[str]:
        """The subjects given, by their names in YAML."""
        given = {name: getattr(self, attribute) for name, attribute in _SUBJECTS.items()}
        return [name for name, value in given.items() if value is not None]

    def mistakes(self) -> Mistakes:
        """What types cannot say, of this condition and of those inside it."""
        return list(_condition_mistakes(self, 1))


_SUBJECTS = {
    each.encode_name: each.name
    for each in msgspec.structs.fields(Condition)
    if each.name not in ValueMatch.__struct_fields__
}


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Which requests a route takes: everything given must hold, and something must be given."""

    path: str | None = None  # the whole path; * is the target of OPTIONS *
    path_prefix: str | None = None  # on segment borders: /a takes /a and /a/b, not /ab; /a/ takes /a/b, not /a; / all
    path_suffix: str | None = None  # the path ends so, at any place: /infer, :predict; beside the others
    path_regex: str | None = None  # RE2 over bytes; the whole path must match
    methods: _AtLeastOne = ()  # as sent: GET does not include HEAD; absent: every method
    hosts: _AtLeastOne = ()  # names, or *.example.com for every name below it; absent: every host
    headers: dict[str, str | ValueMatch] = {}  # name: a value that it equals, or an operator
    cookies: dict[str, str | ValueMatch] = {}  # likewise
    query: dict[str, str | ValueMatch] = {}  # likewise
    when: Condition | None = None  # anything more: all, any, not

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        return list(_match_mistakes(self))


def _match_mistakes(match: Match) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if match == Match():
        yield (), "says nothing; path_prefix: / takes every request"
    paths = [name for name in ("path", "path_prefix", "path_regex") if getattr(match, name) is not None]
    if len(paths) > 1:
        yield (), f"has {' and '.join(paths)}; give one of them"
    yield from _path_mistakes(match)
    for at, method in enumerate(match.methods):
        yield from _prefixed(("methods", at), method_mistakes(method))
    for at, host in enumerate(match.hosts):
        yield from _prefixed(("hosts", at), host_mistakes(host))
    for subject, tests in (("header", match.headers), ("cookie", match.cookies), ("query", match.query)):
        key = subject if subject == "query" else f"{subject}s"
        for name, test in tests.items():
            yield from _prefixed((key, name), name_mistakes(subject, name))
            if isinstance(test, ValueMatch):
                yield from _prefixed((key, name), test.mistakes())
    if match.when is not None:
        yield from _prefixed(("when",), match.when.mistakes())


def _condition_mistakes(condition: Condition, depth: int) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if depth > MAX_DEPTH:
        yield (), f"all, any and not nest deeper than {MAX_DEPTH}"
        return
    given = condition.subjects()
    if len(given) != 1:
        found = f"has {' and '.join(given)}" if given else "has no subject"
        hint = "; join several conditions with all or any" if given else ""
        yield (), f"{found}; give exactly one of: {', '.join(_SUBJECTS)}{hint}"
        return
    subject = given[0]
    if subject in ("header", "cookie", "query"):
        yield from _prefixed((subject,), name_mistakes(subject, getattr(condition, subject)))
        yield from ValueMatch.mistakes(condition)
        return
    stray = condition.operators() + ["ignore_case"] * condition.ignore_case
    if stray:
        yield (stray[0],), f"belongs to header, cookie or query, not to {subject}"
    yield from _path_mistakes(condition)
    for name, value in (("method", condition.method), ("host", condition.host)):
        if value == ():
            yield (name,), "is an empty list; give at least one"
    for at, method in _listed("method", condition.method):
        yield from _prefixed(at, method_mistakes(method))
    for at, host in _listed("host", condition.host):
        yield from _prefixed(at, host_mistakes(host))
    yield from _nested_mistakes(condition, depth)


def _nested_mistakes(condition: Condition, depth: int) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for name, inner in (("all", condition.every), ("any", condition.some)):
        if inner is not None and not inner:
            yield (name,), "is an empty list; give at least one"
    for name, several in (("all", condition.every), ("any", condition.some)):
        for at, each in enumerate(several or ()):
            yield from _prefixed((name, at), _condition_mistakes(each, depth + 1))
    if condition.negated is not None:
        yield from _prefixed(("not",), _condition_mistakes(condition.negated, depth + 1))


def _path_mistakes(owner: Match | Condition) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for name in ("path", "path_prefix", "path_suffix"):
        path: str | None = getattr(owner, name)
        if path is None or (path == "*" and name == "path"):
            continue
        if not path:
            yield (name,), "is empty, and every path " + ("ends so" if name == "path_suffix" else "begins with /")
        elif not path.startswith("/") and name != "path_suffix":
            yield (name,), f"{path!r} does not begin with /, as every path does"
        elif any(character in "?#\\" or not character.isprintable() for character in path):
            yield (
                (name,),
                f"{path!r} has a character that no path has (? # \\ or a control); conditions on the query go to query",
            )
        elif any(segment.lower().replace("%2e", ".") in (".", "..") for segment in path.split("/")):
            yield (name,), f"{path!r} has a dot segment; requests with one are refused before any route is asked"
    if owner.path_regex == "":
        yield ("path_regex",), "is empty and no path is"
    elif owner.path_regex is not None:
        yield from regex_mistakes(owner.path_regex, "path_regex")


def regex_mistakes(pattern: str, field: str, *, ignore_case: bool = False) -> Mistakes:
    """What RE2 has against a pattern."""
    if not pattern.isascii():
        return [
            (
                (field,),
                f"{pattern!r} has a character beyond ASCII; patterns run over bytes: write it as \\xNN of its UTF-8",
            )
        ]
    try:
        compile_regex(pattern, ignore_case=ignore_case)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        hint = "; RE2 has no look-around and no back-references" if "invalid" in reason else ""
        return [((field,), f"{pattern!r} is no RE2 expression: {reason}{hint}")]
    return []


def compile_regex(pattern: str, *, ignore_case: bool = False) -> Any:
    """Compile for bytes: every byte is one character (Latin-1), and `.` matches each of them. Call its `fullmatch`.

    Raises re2.error. Matching takes time linear in the input, with memory bounded by RE2 itself.
    """
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.dot_nl = True
    options.log_errors = False
    options.never_capture = True
    options.case_sensitive = not ignore_case
    return re2.compile(pattern.encode(), options)


def name_mistakes(subject: str, name: str) -> Mistakes:
    """What is wrong with the name of a header, cookie or query parameter."""
    if not name:
        return [((), "is empty; give the name")]
    if subject == "query":
        return []
    if not TOKEN.issuperset(name):
        return [((), f"{name!r} is no {subject} name: letters, digits and !#$%&'*+-.^_`|~ are")]
    if subject == "header" and name.lower() == "host":
        return [((), "match the host with host (in a route: hosts), which ignores the port and the case")]
    return []


def method_mistakes(method: str) -> Mistakes:
    """What is wrong with a method's name; RFC 9110 section 9.1: it is case-sensitive."""
    if not method or not TOKEN.issuperset(method):
        return [((), f"{method!r} is no method; examples: GET, POST")]
    if method.upper() in _COMMON_METHODS and method != method.upper():
        return [((), f"{method!r}: methods are case-sensitive; write {method.upper()}")]
    return []


def host_mistakes(host: str) -> Mistakes:
    """What is wrong with a host pattern."""
    if host.startswith("[") and host.endswith("]"):
        digits = string.hexdigits + ":."
        return [] if set(host[1:-1]) <= set(digits) and host[1:-1] else [((), f"{host!r} is no IPv6 address")]
    if host == "*":
        return []
    name = host.removeprefix("*.")
    if not name or not _HOST.issuperset(name) or name.startswith("."):
        allowed = "a name without a port, *.example.com, [::1] or *"
        return [((), f"{host!r} is no host; allowed: {allowed}")]
    return []


def _listed(name: str, value: str | tuple[str, ...] | None) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield (name,), value
    else:
        for at, each in enumerate(value or ()):
            yield (name, at), each


def _prefixed(
    path: tuple[str | int, ...], mistakes: Iterable[tuple[tuple[str | int, ...], str]]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for inner, text in mistakes:
        yield (*path, *inner), text
