"""YAML as kubectl reads it, JSON, and the bounds of both."""

import contextlib
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ingress_controller.sources import documents as module
from ingress_controller.sources.documents import MalformedError, plain_scalar, read_json, read_yaml


def values(text: str) -> list[object]:
    return [document.value for document in read_yaml(text.encode()).documents]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None), ("nULL", "nULL"),
        ("true", True), ("Yes", True), ("on", True), ("y", True), ("False", False), ("no", False),
        ("OFF", False), ("n", False), ("tRue", "tRue"), ("nope", "nope"),
        ("0", 0), ("80", 80), ("-1", -1), ("+5", 5), ("1_000", 1000), ("0x1F", 31), ("0b101", 5),
        ("0644", 420), ("0o17", 15), ("08", 8.0), ("9_", 9), ("0x_", "0x_"), ("0b", "0b"),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1.", 1.0), ("-1.5e-2", -0.015),
        ("1.2.3", "1.2.3"), ("10.0.0.1", "10.0.0.1"), ("-", "-"), (".", "."), ("+", "+"),
        ("2024-01-01", "2024-01-01"), ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("12:30:45", "12:30:45"), ("1:20", "1:20"), ("9" * 5000, "9" * 5000), ("é", "é"),
    ],
)  # fmt: skip
def test_a_plain_scalar_means_what_it_means_for_kubectl(text: str, value: object) -> None:
    found = plain_scalar(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: '80'", {"a": "80"}, id="quoted is text"),
        pytest.param('a: "true"', {"a": "true"}, id="double quoted is text"),
        pytest.param("a: |\n  80\n", {"a": "80\n"}, id="a block is text"),
        pytest.param("a: !!str 80", {"a": "80"}, id="tagged as text"),
        pytest.param("a: !!int '80'", {"a": 80}, id="tagged as number"),
        pytest.param("a: null\nb: 1", {"b": 1}, id="null is absent"),
        pytest.param("a:\nb: 1", {"b": 1}, id="nothing is absent"),
        pytest.param("1: x\ntrue: y", {"1": "x", "true": True}, id="keys are text"),
        pytest.param("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}, id="an alias"),
        pytest.param("a: &x 5\n*x : 6", None, id="a number is no key"),
        pytest.param("&k a: 1\nb: *k", {"a": 1, "b": "a"}, id="an anchored key"),
        pytest.param(
            "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}},
            id="a merge",
        ),
        pytest.param(
            "d: {<<: [{b: 1}, {b: 2, c: 2}]}", {"d": {"b": 1, "c": 2}}, id="a merge of several"
        ),
        pytest.param('"<<": 1', {"<<": 1}, id="a quoted merge key is a key"),
        pytest.param("[1, null, [a]]", [1, None, ["a"]], id="a list"),
    ],
)  # fmt: skip
def test_yaml_becomes_values(text: str, expected: object) -> None:
    if expected is None:
        with pytest.raises(MalformedError):
            values(text)
    else:
        assert values(text) == [expected]


def test_documents_carry_the_line_that_they_begin_in() -> None:
    text = b"# comment\na: 1\n---\n\nb: 2\n---\n# nothing\n---\nc: 3\n"
    assert [(d.value, d.line) for d in read_yaml(text).documents] == [
        ({"a": 1}, 2),
        ({"b": 2}, 5),
        ({"c": 3}, 9),
    ]


def test_the_items_of_a_list_stand_for_themselves_with_their_lines() -> None:
    text = b"apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: B\n- text\n"
    assert [(d.value, d.line) for d in read_yaml(text).documents] == [
        ({"kind": "A"}, 4),
        ({"kind": "B"}, 5),
    ]


def test_items_of_a_typed_list_inherit_its_kind() -> None:
    text = "apiVersion: v1\nkind: ServiceList\nitems: [{metadata: {name: a}}]"
    assert values(text) == [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        pytest.param("a: 1\nb: {\nc: 3", 3, "", id="an open mapping"),
        pytest.param("a: {{ .Values.x }}", 1, "", id="a template"),
        pytest.param("{{- if .Values.x }}\na: 1\n{{- end }}", 1, "", id="a template block"),
        pytest.param("a: 1\n\tb: 2", 2, "", id="a tab"),
        pytest.param("a: *x", 1, "no anchor", id="an unknown alias"),
        pytest.param("&x [*x]", 1, "no anchor", id="an alias of itself"),
        pytest.param("a: !!python/object:os.system x", 1, "tag", id="a tag of Python"),
        pytest.param("a: !secret {b: 1}", 1, "tag", id="a tag of a mapping"),
        pytest.param("a: !!set [1]", 1, "tag", id="a tag of a list"),
        pytest.param("{[a]: 1}", 1, "key", id="a list as key"),
        pytest.param("a: {<<: 5}", 1, "merge", id="a merge of a number"),
        pytest.param("[" * 100 + "]" * 100, 1, "nested", id="too deep"),
        pytest.param("a: \x00", 0, "", id="a control character"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(MalformedError) as caught:
        values(text)
    assert words in caught.value.reason
    assert caught.value.reason
    assert caught.value.line == line


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(MalformedError):
        read_yaml(b"a: \xff\xfe\xfd\n")
    with pytest.raises(MalformedError, match="UTF-8"):
        read_json(b'{"a": "\xff"}')


def test_aliases_are_counted_as_often_as_they_are_used() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(MalformedError, match="aliases expanded"):
        values("\n".join(lines))


def test_values_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NODES", 5)
    assert values("[1, 2, 3, 4]") == [[1, 2, 3, 4]]
    with pytest.raises(MalformedError, match="more than 5 values"):
        values("[1, 2, 3, 4, 5]")


def test_a_key_that_stands_twice_is_reported_and_the_last_counts() -> None:
    found = read_yaml(b"a: 1\nb:\n  c: 1\n  c: 2\n")
    assert found.documents[0].value == {"a": 1, "b": {"c": 2}}
    assert found.repeated == [("c", 4)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"a": 1, "b": null}', [{"a": 1}], id="null is absent"),
        pytest.param('{"a": 1}\n{"a": 2} ', [{"a": 1}, {"a": 2}], id="one after the other"),
        pytest.param("", [], id="nothing"),
        pytest.param('\ufeff{"a": 1}', [{"a": 1}], id="a byte order mark"),
        pytest.param('{"kind": "List", "items": [{"kind": "A"}]}', [{"kind": "A"}], id="a list"),
    ],
)
def test_json_becomes_values(text: str, expected: list[object]) -> None:
    assert [document.value for document in read_json(text.encode()).documents] == expected


def test_json_documents_carry_their_line() -> None:
    assert [d.line for d in read_json(b'{"a": 1}\n\n{"b": 2}').documents] == [1, 3]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param('{\n"a": 1,\n}', 3, id="a comma too many"),
        pytest.param("apiVersion: v1", 1, id="YAML"),
        pytest.param("[" * 100_000, 0, id="too deep"),
        pytest.param("1" * 5000, 0, id="too many digits"),
    ],
)
def test_what_is_no_json_is_refused(text: str, line: int) -> None:
    with pytest.raises(MalformedError) as caught:
        read_json(text.encode())
    assert caught.value.line == line or line == 0


def test_a_json_key_that_stands_twice_is_reported() -> None:
    found = read_json(b'{"a": 1, "a": 2}')
    assert found.documents[0].value == {"a": 2}
    assert found.repeated == [("a", 0)]


def texts(max_size: int) -> st.SearchStrategy[str]:
    """Without the words that PyYAML writes bare, and `kubectl` reads as booleans."""
    return st.text(max_size=max_size).filter(lambda text: text not in ("y", "Y", "n", "N"))


PLAIN = st.recursive(
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts(8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(5), inner, max_size=3),
    max_leaves=12,
)


def without_kind(value: object) -> bool:
    return not (isinstance(value, dict) and "kind" in value)


@given(PLAIN.filter(without_kind))
def test_what_a_yaml_writer_writes_is_read_back(value: object) -> None:
    written = yaml.safe_dump(value)
    (found,) = read_yaml(written.encode()).documents
    assert _close(found.value, value)


def _close(left: object, right: object) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_close(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_close, left, right))
    if isinstance(left, float) and isinstance(right, float | int):
        return math.isclose(left, right)
    return left == right


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_read_or_be_refused(text: bytes) -> None:
    for read in (read_yaml, read_json):
        with contextlib.suppress(MalformedError):
            assert read(text).documents is not None
