"""The JSON reader of harness-train beside Python's: the same texts are read, the same are refused."""

import json
import random
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=4), each, max_size=4),
    max_leaves=12,
)
TEXTS = [
    "", " ", "nul", "nulll", "[1,]", "[,1]", "{", "}", "[", '{"a":1,}', '{"a" 1}', '{"a":1 "b":2}', "[1 2]",
    "01", "-", "-01", "1.", ".5", "1e", "1e+", "+1", "1.5e-7", "-0", "-0.0", "1E9", "0x1", "NaN", "Infinity",
    '"', '"\\', '"\\u12"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\ude00"', '"\\udc80"', '"\\ud800\\u0041"',
    '"\\u0000"', '"\\x41"', '"a\nb"', '{"a":1,"a":2}', "{1:2}", "'a'", "[]x", "tru", "true", "[" * 32 + "]" * 32,
    "[" * 34 + "]" * 34, "[" * 100_000, "\ufeff1", "// 1", '{"":0}', '"\x7f"',
    "[" + ",".join(["[]"] * 3000) + "]",
    "{" + ",".join(f'"{i}":0' for i in range(256)) + "}",
    "{" + ",".join(f'"{i}":0' for i in range(257)) + "}",
]  # fmt: skip
MOST_NESTED = 32


@pytest.fixture(scope="module")
def probe(core_path: Path) -> Path:
    return core_path.parent / "json_probe"


def read_by_probe(probe: Path, texts: list[str]) -> list[str]:
    given = b"".join(struct.pack("<I", len(raw)) + raw for raw in (text.encode() for text in texts))
    done = subprocess.run([str(probe)], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.decode().splitlines()


def read_by_python(text: str) -> str:
    """What the probe should write: Python's reading, less what the program refuses by its own rules."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in found}) < len(found) or len(found) > 256:
            raise ValueError
        return dict(found)

    def refuse(word: str) -> Any:
        raise ValueError(word)

    try:
        value = json.loads(
            text, object_pairs_hook=pairs, parse_constant=refuse, parse_int=Raw, parse_float=Raw
        )
        return written(value, 0)
    except (ValueError, RecursionError):
        return "refused"


class Raw(str):
    """A number as it was written."""


def written(value: Any, depth: int) -> str:
    if depth > MOST_NESTED:
        raise ValueError
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError
        return f'"{value.encode("utf-8", "surrogateescape").hex()}"'
    if isinstance(value, list):
        return f"[{','.join(written(each, depth + 1) for each in value)}]"
    if isinstance(value, dict):
        members = [f"{written(name, depth)}:{written(each, depth + 1)}" for name, each in value.items()]
        return f"{{{','.join(members)}}}"
    return json.dumps(value)


def test_known_texts(probe: Path) -> None:
    for text, found in zip(TEXTS, read_by_probe(probe, TEXTS), strict=True):
        assert found == read_by_python(text), text[:80]


@settings(max_examples=30)
@given(st.lists(st.tuples(VALUES, st.booleans(), st.sampled_from([None, 1])), min_size=20, max_size=40))
def test_what_python_writes_is_read(probe: Path, cases: list[tuple[Any, bool, int | None]]) -> None:
    texts = [json.dumps(value, ensure_ascii=ascii_, indent=indent) for value, ascii_, indent in cases]
    found = read_by_probe(probe, texts)
    assert found == [read_by_python(text) for text in texts]


def test_damaged_texts_are_refused_where_python_refuses_them(probe: Path) -> None:
    rng = random.Random(0)
    seed = json.dumps({"a": [1, -2.5e-3, True, None, "x\u00e9\U0001f600\n"], "b": {"c": {}, "d": []}})
    alphabet = '{}[]",:\\u0123456789eE+-.truefalsn \t\n\x01\u00e9'
    texts = []
    for _ in range(20_000):
        characters = list(seed)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(characters))
            how = rng.randrange(3)
            characters[place : place + (how != 0)] = [] if how == 2 else [rng.choice(alphabet)]
        texts.append("".join(characters))
    found = read_by_probe(probe, texts)
    for text, each in zip(texts, found, strict=True):
        assert each == read_by_python(text), text
    assert 1000 < found.count("refused") < 19_900


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_sanitizers_find_nothing(build_folder: Any) -> None:
    options = ("-DHARNESS_BUILD_FUZZER=ON", "-DHARNESS_SIMD=OFF", "-DHARNESS_SANITIZE=address,undefined")
    folder = build_folder("sanitize-address-undefined", *options)
    test_known_texts(folder / "json_probe")
    test_damaged_texts_are_refused_where_python_refuses_them(folder / "json_probe")
