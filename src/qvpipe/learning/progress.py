"""The progress of a training."""

from tqdm import tqdm

from qvpipe.learning.fit import Epoch


class Bar:
    """A bar over the items of a training, with the time that is left for others as well."""

    def __init__(self, title: str, items: int, epochs: int, elsewhere: int) -> None:
        """Show it.

        Args:
            title: What is trained.
            items: In an epoch.
            epochs: Of this training.
            elsewhere: Epochs that other trainings still need.
        """
        self._items = items
        self._epochs = epochs
        self._elsewhere = elsewhere
        self._bar = tqdm(total=epochs * items, desc=title, unit=" videos")

    def __enter__(self) -> "Bar":
        """Return the bar."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def step(self, items: int) -> None:
        """Move on by some items."""
        self._bar.update(items)

    def epoch(self, epoch: Epoch) -> None:
        """Show what an epoch came to; other trainings are taken to need as long for one."""
        left = (self._epochs - epoch.number + self._elsewhere) * epoch.seconds
        self._bar.set_postfix(
            epoch=epoch.number,
            loss=f"{epoch.loss:.4f}",
            mAP=f"{epoch.map:.3f}",
            speed=f"{epoch.items_per_s:.1f}/s",
            all_left=tqdm.format_interval(left),
        )
        # Epochs of a training that goes on were counted by no step.
        self._bar.update(epoch.number * self._items - self._bar.n)
