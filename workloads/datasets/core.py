"""What a compiled engine may do of the data path, in place of the Python beside it and bit for bit the same.

The Python of this package defines every item, order and move; a core is held to it by tests. It is an engine's to
offer (`EngineModule.data_core`), so that a worker loads no library that its engine does not need.
"""

from collections.abc import Callable, Sequence

from workloads.light_typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from array import array


class DataCore(Protocol):
    """Makers of what is called once a batch. Buffers are writable; items are numbers of items."""

    def order(
        self, tables: "Sequence[array[int]]", right_bits: int, count: int
    ) -> Callable[[int, int], Sequence[int]]:
        """Return what gives the items at positions start to stop − 1 of a `shuffle.Permutation`."""
        ...

    def reader(
        self,
        files: Sequence[int],
        offsets: Sequence[int],
        starts: Sequence[int],
        stride: int,
        item_bytes: int,
    ) -> Callable[[Sequence[int], memoryview], int]:
        """Return what reads items of open files into a buffer, and says how many before one came short.

        Item k lies in the last file whose start is not above k, at its offset + k * stride.
        """
        ...

    def noise(
        self, block: memoryview, key: int, image_bytes: int, classes: int, label_bytes: int
    ) -> Callable[[Sequence[int], memoryview, memoryview], None]:
        """Return what makes the images and labels of a `sources.NoiseSource` in two buffers."""
        ...

    def move(
        self,
        images: memoryview,
        items: Sequence[int],
        key: int,
        shape: tuple[int, int, int],
        most: tuple[int, int],
        flip: bool,
    ) -> None:
        """Do to the images of a batch, in place, what `augment` draws for its items from the epoch's key."""
