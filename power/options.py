"""The argument of a meter: `PLACE,key=value,...` after the colon of `--meter name:`."""


def split_argument(text: str, known: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the place (path, address or name; may be empty) and the options over their defaults `known`.

    Raises `ValueError` for an option that is not known.
    """
    place = ""
    options = dict(known)
    for part in (part.strip() for part in text.split(",")):
        key, separator, value = part.partition("=")
        if not separator:
            place = place or part
        elif key in known:
            options[key] = value
        else:
            raise ValueError(f"no option '{key}'; there is: {', '.join(known) or 'none'}")
    return place, options


def positive(name: str, text: str) -> float:
    """Return a number above 0. Raises `ValueError` naming the option."""
    value = float(text)
    if not 0.0 < value < float("inf"):
        raise ValueError(f"'{name}' must be a number above 0, not {text}")
    return value
