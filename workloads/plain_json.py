"""JSON as a worker reads and writes it. The library's `json` needs `re` and `enum`, which hold 0.7 MiB of a worker.

The same language and the same values as the library's, its NaN and Infinity (which are no JSON) included.
"""

from collections.abc import Mapping

from workloads.light_typing import Any, Final

_ESCAPES: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPED: Final = {code: f"\\u{code:04x}" for code in range(0x20)} | {ord(c): f"\\{c}" for c in '"\\'}
_INFINITY: Final = float("inf")
_WORDS: Final = {
    "null": None, "true": True, "false": False, "NaN": float("nan"), "Infinity": _INFINITY, "-Infinity": -_INFINITY,
}  # fmt: skip
_SPACE: Final = " \t\n\r"
_HEXADECIMAL: Final = frozenset("0123456789abcdefABCDEF")
_IN_WORDS: Final = frozenset("+-.0123456789abcdefghijklmnopqrstuvwxyzEIN")


def encode(value: Any) -> bytes:
    """Return the value as JSON in UTF-8 without spaces; raises TypeError for what JSON has no word for."""
    return _text(value).encode("utf-8", "backslashreplace")  # of a lone surrogate that is JSON's own escape


def decode(data: bytes | bytearray) -> Any:
    """Return the value that a JSON text in UTF-8 stands for; raises ValueError saying where it is damaged."""
    text = data.decode()
    try:
        value, end = _value(text, 0)
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    if _skip(text, end) < len(text):
        raise _damaged(text, end)
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value.translate(_ESCAPED)}"'
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(value).replace("nan", "NaN").replace("inf", "Infinity")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_text(_key(key))}:{_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    raise TypeError(f"JSON has no word for {value!r}")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key of a JSON object is a string, not {key!r}")
    return key


def _value(text: str, at: int) -> tuple[Any, int]:
    """Return the value that begins at or after this place, and the place behind it."""
    at = _skip(text, at)
    first = text[at : at + 1]
    if first == '"':
        return _string(text, at + 1)
    if first == "{":
        return _object(text, at + 1)
    if first == "[":
        return _array(text, at + 1)
    end = at
    while end < len(text) and text[end] in _IN_WORDS:
        end += 1
    word = text[at:end]
    if word in _WORDS:
        return _WORDS[word], end
    return _number(text, at, word), end


def _object(text: str, at: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _skip(text, at)
    if text.startswith("}", at):
        return found, at + 1
    while True:
        at = _expect(text, at, '"')
        key, at = _string(text, at)
        found[key], at = _value(text, _expect(text, at, ":"))
        at = _skip(text, at)
        if not text.startswith(",", at):
            return found, _expect(text, at, "}")
        at += 1


def _array(text: str, at: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    at = _skip(text, at)
    if text.startswith("]", at):
        return found, at + 1
    while True:
        value, at = _value(text, at)
        found.append(value)
        at = _skip(text, at)
        if not text.startswith(",", at):
            return found, _expect(text, at, "]")
        at += 1


def _string(text: str, at: int) -> tuple[str, int]:
    """Return the string whose text begins here, and the place behind its closing quote."""
    parts = []
    while True:
        quote = text.find('"', at)
        if quote < 0:
            raise _damaged(text, len(text))
        slash = text.find("\\", at, quote)
        end = quote if slash < 0 else slash
        parts.append(text[at:end])
        if min(parts[-1], default=" ") < " ":
            raise _damaged(text, at)
        if slash < 0:
            return "".join(parts), quote + 1
        part, at = _escape(text, slash + 1)
        parts.append(part)


def _escape(text: str, at: int) -> tuple[str, int]:
    """Return the character of the escape whose letter stands here; two surrogates in a row are one character."""
    letter = text[at : at + 1]
    if letter != "u":
        if letter not in _ESCAPES:
            raise _damaged(text, at)
        return _ESCAPES[letter], at + 1
    code, at = _code(text, at + 1)
    if 0xD800 <= code < 0xDC00 and text.startswith("\\u", at):
        low, end = _code(text, at + 2)
        if 0xDC00 <= low < 0xE000:
            return chr(0x10000 + ((code - 0xD800) << 10) + low - 0xDC00), end
    return chr(code), at


def _code(text: str, at: int) -> tuple[int, int]:
    digits = text[at : at + 4]
    if len(digits) < 4 or not _HEXADECIMAL.issuperset(digits):
        raise _damaged(text, at)
    return int(digits, 16), at + 4


def _number(text: str, at: int, word: str) -> int | float:
    """Return a number in JSON's own spelling, which is stricter than Python's."""
    mantissa, e, power = word.replace("E", "e").partition("e")
    whole, point, fraction = mantissa.removeprefix("-").partition(".")
    exponent = power[1:] if power.startswith(("+", "-")) else power
    spelled = whole.isdigit() and (whole == "0" or whole[0] != "0")
    if not spelled or bool(point) != fraction.isdigit() or bool(e) != exponent.isdigit():
        raise _damaged(text, at)
    return float(word) if point or e else int(word)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _expect(text: str, at: int, character: str) -> int:
    """Return the place behind this character, which must come next."""
    at = _skip(text, at)
    if not text.startswith(character, at):
        raise _damaged(text, at)
    return at + 1


def _damaged(text: str, at: int) -> ValueError:
    return ValueError(f"JSON is damaged at character {at} of {len(text)}: {text[at : at + 20]!r}")
