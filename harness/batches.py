"""The batches of one worker: read from the data files into one buffer, which is made once and used for every batch."""

from collections.abc import Callable, Iterator

from workloads.datasets.base import PreparedDataset, Split
from workloads.datasets.reader import BatchReader
from workloads.engines.base import Batch, Job
from workloads.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workloads.datasets.core import DataCore


class Batches:
    """Training batches in the job's order, and the first items of either split in the files' order.

    Images are bytes, batch × channels × height × width; labels are bytes, or 16 bits wide where the data set has more
    than 256 classes. A batch that was given is overwritten by the next. `stay_heard` is called after each batch of
    `first`, which may go on for long. `core` is what the engine offers for the work on every item.
    """

    def __init__(
        self, data: PreparedDataset, job: Job, stay_heard: Callable[[], None], core: "DataCore | None" = None
    ) -> None:
        self.data, self._seed, self._stay_heard, self._core = data, job.seed, stay_heard, core
        self._augmentation = job.settings["augmentation"]
        channels, height, width = job.specification.image_shape
        self._images = memoryview(bytearray(job.batch_size * channels * height * width))
        wide = data.train.label_bytes == 2
        self._labels = memoryview(bytearray(job.batch_size * (1 + wide))).cast("H" if wide else "B")
        self.reader = BatchReader(data.train, job.batch_size, job.seed, shuffle=True, core=core)

    def read(self) -> Batch:
        """Return the next training batch, its images shifted and mirrored where the settings say so."""
        count = self.reader.read_into(self._images, self._labels)
        if self._augmentation != "none":
            from workloads.datasets.augment import augment  # a worker without it need not hold the module

            images = self._images[: count * self.data.train.image_bytes]
            place = self.reader.last_items, self._seed, self.reader.last_epoch
            augment(self._augmentation, images, *place, self.data.shape, self._core)
        return self._images, self._labels

    def first(self, split: Split, items: int) -> Iterator[Batch]:
        """Yield the first items of a split in order; the last batch may be short."""
        item_bytes = len(self._images) // len(self._labels)
        left = min(items, split.count)
        with BatchReader(split, len(self._labels), seed=0, shuffle=False, core=self._core) as reader:
            while left > 0:
                count = min(reader.read_into(self._images, self._labels), left)
                yield self._images[: count * item_bytes], self._labels[:count]
                left -= count
                self._stay_heard()
