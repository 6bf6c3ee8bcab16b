"""The stand-ins give what `typing` gives, wherever a program can tell the difference."""

import pickle
import typing
from collections.abc import Sequence

import pytest

from workloads import light_typing

BODY = '''
class Point(NamedTuple):
    """Where."""

    x: int
    y: Any = 2
    unit: Literal["mm", "m"] = "m"

    @property
    def total(self) -> int:
        return self.x + self.y

    @classmethod
    def origin(cls) -> "Point":
        return cls(0, 0)
'''


def made_by(module):
    body = {name: getattr(module, name) for name in ("NamedTuple", "Any", "Literal")} | {"__name__": __name__}
    exec(BODY, body)
    return body["Point"]


Point = made_by(light_typing)


def test_a_named_tuple_is_what_typing_makes_of_the_same_class():
    theirs = made_by(typing)
    for shown in (
        "_fields",
        "_field_defaults",
        "__doc__",
        "__qualname__",
        "__module__",
        "__match_args__",
        "__bases__",
    ):
        assert getattr(Point, shown) == getattr(theirs, shown)
    assert Point.__annotations__.keys() == theirs.__annotations__.keys()
    for each in (Point, theirs):
        made = each(1, unit="mm")
        assert made == (1, 2, "mm")
        assert repr(made) == "Point(x=1, y=2, unit='mm')"
        assert made.total == 3
        assert each.origin() == (0, 0, "m")
        assert not hasattr(made, "__dict__")
        with pytest.raises(AttributeError):
            made.x = 2
        with pytest.raises(TypeError):
            each()


def test_a_named_tuple_survives_pickling():
    assert pickle.loads(pickle.dumps(Point(3))) == Point(3)


def test_a_default_before_a_field_without_is_refused():
    with pytest.raises(TypeError):

        class Wrong(light_typing.NamedTuple):
            x: int = 1
            y: int


@pytest.mark.parametrize("name", ["Any", "Final", "Literal", "Protocol"])
def test_what_only_annotates_can_stand_wherever_an_annotation_does(name):
    stand_in = getattr(light_typing, name)
    assert (stand_in | None) is not None
    assert stand_in["a", "b"] is stand_in
    assert Sequence[stand_in] is not None

    class Face(stand_in):
        def call(self):
            return 1

    assert Face().call() == 1


def test_every_name_is_one_of_typings():
    assert all(hasattr(typing, name) for name in light_typing.__all__)
