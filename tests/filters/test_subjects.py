"""How paths, queries, cookies and hosts are read, against independent readers where there are any."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st
from understudy.filters.matching import Match
from understudy.filters.predicates import path_test
from understudy.filters.subjects import behind_prefix, cookies, host_of, normal_path, parameters

_paths = st.text(alphabet="/aZ9-._~:@!$&'()*+,;= é%2F5c\\?", max_size=30).map(lambda text: "/" + text)


@given(_paths, st.data())
def test_no_spelling_of_a_path_escapes_its_normal_form(path: str, data: st.DataObject) -> None:
    """Escaping any character but those that mean something changes nothing."""
    plain = quote(path, safe="/aZ9-._~:@!$&'()*+,;= ").encode()
    spelled = bytearray()
    for byte in path.encode():
        kept = chr(byte) in "/\\%?#"
        escaped = (kept and byte != 0x2F) or (not kept and data.draw(st.booleans()))
        spelled += f"%{byte:02x}".encode() if escaped else bytes([byte])
    assert normal_path(bytes(spelled)) == normal_path(plain)


@given(st.binary(max_size=30) | _paths.map(str.encode))
def test_the_normal_form_is_its_own_normal_form_and_keeps_the_segments(path: bytes) -> None:
    normal = normal_path(path)
    assert normal_path(normal) == normal
    assert normal.count(b"/") == path.count(b"/")
    assert unquote_to_bytes(normal) == unquote_to_bytes(path)


def test_what_would_change_the_segments_stays_escaped() -> None:
    assert normal_path(b"/a%2fb%5C%25%3f%23%00%7f") == b"/a%2Fb%5C%25%3F%23%00%7F"
    assert normal_path(b"/%61%zz%") == b"/a%25zz%25"


_segments = st.lists(st.sampled_from(["a", "%61", "b", "", "a%2fb", "%2F"]), max_size=4).map(
    lambda each: "/" + "/".join(each)
)


@given(_segments, _segments)
def test_what_matched_a_prefix_can_have_it_replaced(path: str, written: str) -> None:
    prefix = normal_path(written.encode())
    rest = behind_prefix(path.encode(), prefix)
    matches = path_test(Match(path_prefix=written))(normal_path(path.encode()))
    assert (rest is not None) is (matches or prefix == b"/")
    if rest is not None:
        assert path.encode().endswith(rest)
        assert prefix + normal_path(rest) == normal_path(path.encode())


@given(st.text(alphabet="ab=&+%4162;", max_size=40), st.sampled_from(["a", "b", "a b", "A", "%", "ab"]))
def test_parameters_agree_with_the_standard_library(query: str, name: str) -> None:
    expected = [
        value.encode("latin-1")
        for key, value in parse_qsl(query, keep_blank_values=True, encoding="latin-1")
        if key == name
    ]
    assert parameters(query.encode(), name.encode()) == expected


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "aa"]), st.text(alphabet='xy"= ', max_size=4)), max_size=5))
def test_cookies_are_found_among_others(pairs: list[tuple[str, str]]) -> None:
    header = "; ".join(f"{name}={value}" for name, value in pairs).encode()
    values = [value.strip() for name, value in pairs if name == "a"]
    unquoted = [value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value for value in values]
    assert cookies(header, b"a") == [value.encode() for value in unquoted]


def test_hosts_lose_their_port_their_case_and_the_root() -> None:
    assert host_of(b"Model.Local:7080") == host_of(b"model.local.") == host_of(b"model.local") == b"model.local"
    assert host_of(b"[::1]:7080") == host_of(b"[::1]") == b"[::1]"
    assert host_of(b"") == b""
