"""What the modules of a worker take from `typing` without importing it: it holds 0.5 MiB of one.

Type checkers read the real names. At run time nobody reads an annotation, so any class will do there; only a named
tuple has to be one.
"""

from collections import namedtuple

__all__ = ["TYPE_CHECKING", "Any", "Final", "Literal", "NamedTuple", "Protocol"]

TYPE_CHECKING = False  # every type checker takes this name for true

if TYPE_CHECKING:
    from typing import Any, Final, Literal, NamedTuple, Protocol
else:

    class _Unread:
        """Stands where an annotation or a base class needs a name, with or without arguments."""

        def __class_getitem__(cls, arguments):
            return cls

    Any = Final = Literal = Protocol = _Unread

    class _NamedTupleMeta(type):
        """Makes a `collections.namedtuple` of an annotated class body, as the metaclass in `typing` does."""

        def __new__(meta, name, bases, body):
            if not bases:
                return super().__new__(meta, name, bases, body)
            fields = body.get("__annotations__", {})
            defaults = {field: body[field] for field in fields if field in body}
            if list(fields)[len(fields) - len(defaults) :] != list(defaults):
                raise TypeError(f"{name}: a field without a default follows one that has a default")
            made = namedtuple(name, fields, defaults=defaults.values(), module=body["__module__"])
            for attribute in body.keys() - fields.keys():
                setattr(made, attribute, body[attribute])
            return made

    class NamedTuple(metaclass=_NamedTupleMeta):
        """Base of named tuples with annotated fields."""
