"""What every filter's configuration type must be. Each check raises AssertionError with what the author must do."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from collections.abc import Iterator
from textwrap import dedent
from typing import Any, get_args, get_type_hints

import msgspec
from understudy.filters.api import FilterConfig
from understudy.filters.units import dec_hook, enc_hook


def structs_of(config: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """The type and every struct that its fields may hold, each once."""
    seen: set[type[msgspec.Struct]] = set()
    waiting: list[Any] = [config]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if kind in seen:
                continue
            seen.add(kind)
            yield kind
            waiting += get_type_hints(kind).values()
        else:
            waiting += [each for each in get_args(kind) if not isinstance(each, str)]


def check_type(config: type[FilterConfig]) -> None:
    """Named by a lower-case word; it and all that it holds are frozen and refuse unknown keys."""
    tag = config.__struct_config__.tag
    assert isinstance(tag, str) and tag.isidentifier() and tag == tag.lower(), (
        f"{config.__name__}: give it a lower-case tag=, the `type:` of the YAML"
    )
    for kind in structs_of(config):
        name = kind.__name__
        assert kind.__struct_config__.frozen, f"{name}: declare it frozen=True, one configuration serves all requests"
        assert kind.__struct_config__.forbid_unknown_fields, f"{name}: declare it forbid_unknown_fields=True"


def check_docs(config: type[FilterConfig]) -> None:
    """Every class has a docstring and every field a comment: they are the user's reference."""
    owners = {
        owner for kind in structs_of(config) for owner in kind.__mro__ if owner.__module__.startswith("understudy.")
    }
    owners.discard(FilterConfig)
    bare = [f"{owner.__name__}.{name}" for owner in owners for name in fields_without_comment(owner)]
    bare += [owner.__name__ for owner in owners if not owner.__doc__]
    assert not bare, (
        f"write a comment beside each field and a docstring, the user's reference: {', '.join(sorted(bare))}"
    )


def fields_without_comment(owner: type) -> Iterator[str]:
    source = dedent(inspect.getsource(owner))
    comments = {
        token.start[0]: source.splitlines()[token.start[0] - 1].strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    (body,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    for node in body.body:
        if not isinstance(node, ast.AnnAssign) or "ClassVar" in ast.unparse(node.annotation):
            continue
        beside = any(line in comments for line in range(node.lineno, (node.end_lineno or node.lineno) + 1))
        above = comments.get(node.lineno - 1, "").startswith("#")
        if not beside and not above:
            yield ast.unparse(node.target)


def decoded(config: type[FilterConfig], example: dict[str, Any]) -> FilterConfig:
    """As the configuration loader decodes it."""
    return msgspec.convert(example, config, dec_hook=dec_hook)


def check_example(config: type[FilterConfig], example: dict[str, Any]) -> None:
    """A valid example is found valid, twice; it is frozen, refuses an unknown key and survives the way to a worker."""
    built = decoded(config, example)
    assert built.mistakes() == [], f"{example}: a valid example has mistakes"
    assert built.mistakes() == [] and decoded(config, example) == built, "mistakes() must not change anything"
    for path, name in built.references():
        assert isinstance(path, tuple) and isinstance(name, str), "references() gives (path, backend name)"
        assert built.deciding() is not None, "a filter that names backends decides who answers or hears"
    _check_frozen(built)
    _check_refuses_unknown(config, example)
    for codec in (msgspec.msgpack, msgspec.json):
        there = codec.encode(built, enc_hook=enc_hook)
        assert codec.decode(there, type=config, dec_hook=dec_hook) == built, (
            f"{config.__name__}: it changes on its way through {codec.__name__}; control sends it to the workers so"
        )


def _check_frozen(built: FilterConfig) -> None:
    for name in built.__struct_fields__:
        try:
            setattr(built, name, getattr(built, name))
        except AttributeError:
            continue
        raise AssertionError(f"{type(built).__name__}.{name}: can be assigned to")


def _check_refuses_unknown(config: type[FilterConfig], example: dict[str, Any]) -> None:
    try:
        decoded(config, {**example, "no_such_key": 1})
    except msgspec.ValidationError as error:
        assert "no_such_key" in str(error)
    else:
        raise AssertionError(f"{config.__name__}: an unknown key passes, so a misspelled one would")
