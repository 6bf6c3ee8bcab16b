"""Held to the library's reader and writer, which define the language."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads import plain_json

texts = st.text(st.characters(exclude_categories=()))  # with lone surrogates, which a file name may bring
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def same(one, other):
    """Compare values so that NaN equals itself and 1, 1.0 and True are three."""
    return repr(one) == repr(other)


@given(values)
def test_the_library_reads_what_is_written(value):
    assert same(json.loads(plain_json.encode(value)), value)


@given(values, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_what_the_library_writes_is_read(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    data = text.encode("utf-8", "backslashreplace")
    assert same(plain_json.decode(data), json.loads(data))


def verdict(read, data):
    try:
        return repr(read(data))
    except ValueError:
        return "refused"


WRITTEN = json.dumps({"a": [1, -2.5e-3, "é\n\ud83d\ude00", None, True], "b": {"c": [], "d": {}}}).encode()


@given(st.data())
def test_of_a_damaged_text_the_library_says_the_same(data):
    damaged = bytearray(WRITTEN)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not damaged:
            break
    if damaged.startswith(b"\x00") or b"\x00" in damaged[:4]:
        return  # the library takes these for UTF-16 or UTF-32
    assert verdict(plain_json.decode, bytes(damaged)) == verdict(json.loads, bytes(damaged))


@given(st.text("0123456789+-.eE", max_size=7))
def test_a_number_has_one_spelling(word):
    assert verdict(plain_json.decode, word.encode()) == verdict(json.loads, word.encode())


@pytest.mark.parametrize(
    "text",
    ["", " ", "nul", "nullx", "NaN", "-Infinity", "1e999", "Infinityx", '"\\u12"', '"\\u+123"', '"\\x"', '"a\tb"', '"a',
     "[1,]", '{"a":1,}', "{1:2}", '{"a" 1}', "[1 2]", "1 2", "'a'", "]", '"\\', "-", "1_0", "\u0663"],
)  # fmt: skip
def test_the_borders_of_the_language_are_the_librarys(text):
    assert verdict(plain_json.decode, text.encode()) == verdict(json.loads, text.encode())


def test_damage_is_named_with_its_place():
    with pytest.raises(ValueError, match=r"damaged at character 4 of 6: '#\]'"):
        plain_json.decode(b"[1, #]")


def test_nesting_without_end_is_refused():
    with pytest.raises(ValueError, match="too deep"):
        plain_json.decode(b"[" * 100_000)


@pytest.mark.parametrize("value", [b"bytes", {1: 2}, {"a": {2}}, [object()]])
def test_what_json_has_no_word_for_is_refused(value):
    with pytest.raises(TypeError):
        plain_json.encode(value)
