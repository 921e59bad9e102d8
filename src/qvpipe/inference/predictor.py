"""A trained ensemble that takes what its members see of videos and gives probabilities."""

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.torch
import torch
import yaml
from torch import Tensor

from qvpipe import config
from qvpipe.config import Settings
from qvpipe.errors import QvpipeError
from qvpipe.inference.intake import Seen
from qvpipe.inputs import Views
from qvpipe.learning.calibration import calibrate, from_json
from qvpipe.learning.ensemble import Floats, combine
from qvpipe.learning.evaluate import choose_device, choose_precision, predict
from qvpipe.learning.network import Network
from qvpipe.learning.tasks import activation
from qvpipe.search.embedder import load_clip
from qvpipe.search.zeroshot import ZeroShot, zero_shot
from qvpipe.video.reader import VideoError

BATCH = 16
"""Videos that go through the networks together."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Options:
    """How an ensemble is asked; see `Predictor.options`."""

    thresholds: Mapping[str, float]
    tta: bool
    batch_size: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """What an ensemble says of one video.

    Attributes:
        video: The name that it was given.
        error: Why it could not be read; empty if it could.
        probabilities: Of each class, from 0 to 1, calibrated; empty if it could not be read.
        labels: The classes that reach their thresholds, or the most probable class where an item
            has exactly one.
    """

    video: str
    error: str
    probabilities: Mapping[str, float]
    labels: tuple[str, ...]

    @property
    def status(self) -> str:
        """`ok` or `failed`."""
        return "failed" if self.error else "ok"

    def row(self) -> dict[str, object]:
        """Return it as a row of a table: `video`, `status`, `error`, the classes, `labels`."""
        return {
            "video": self.video,
            "status": self.status,
            "error": self.error,
            **self.probabilities,
            "labels": list(self.labels),
        }


@dataclass(frozen=True)
class Predictor:
    """An ensemble in memory.

    Attributes:
        settings: Those it was trained with.
        rules: models/ensemble/ensemble.json: members and weights, classes, the normal class,
            calibration and thresholds.
        networks: One for each fold, by member.
        device: Where they lie.
        untrained: The members that label without training.
    """

    settings: Settings
    rules: Mapping[str, Any]
    networks: Mapping[str, Sequence[Network]]
    device: torch.device
    untrained: Mapping[str, ZeroShot] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the columns of every table."""
        return list(self.rules["classes"])

    @property
    def thresholds(self) -> Mapping[str, float]:
        """From which probability on each class is a label; empty where an item has exactly one."""
        return {} if self.settings.task == "multiclass" else dict(self.rules["thresholds"])

    def check_classes(self, names: Iterable[str]) -> None:
        """Make sure that these are classes of the model.

        Raises:
            QvpipeError: If one is not.
        """
        _check_known("class", names, self.classes)

    def options(
        self,
        thresholds: Mapping[str, float] | None = None,
        tta: bool = False,
        batch_size: int = BATCH,
        members: Sequence[str] | None = None,
    ) -> Options:
        """Return checked options.

        Args:
            thresholds: Probabilities from which on classes are labels, instead of the model's own.
            tta: Whether mirrored pictures are looked at as well, and probabilities averaged.
            batch_size: Videos that go through the networks together; changes no result.
            members: Members that are asked, with their weights; None for all. Calibration was
                fitted for all together.

        Raises:
            QvpipeError: If a class or a member is unknown or a number out of range.
        """
        known = list(self.rules["members"])
        chosen = tuple(known if members is None else members)
        self.check_classes(thresholds or ())
        _check_known("member", chosen, known)
        for name, value in (thresholds or {}).items():
            if not 0 <= value <= 1:
                raise QvpipeError(f"the threshold of {name} is {value}; allowed is 0 to 1")
        if batch_size < 1 or not chosen:
            raise QvpipeError("batch_size is 1 or more, and at least one member must be named")
        return Options({**self.rules["thresholds"], **(thresholds or {})}, tta, batch_size, chosen)

    def predict(
        self, seen: Iterable[tuple[str, Seen]], options: Options | None = None
    ) -> Iterator[Prediction]:
        """Predict videos as they come; the networks work while the next ones are being read.

        Args:
            seen: Names of videos with what `intake.see` returns.
            options: How to predict; None for the model's own way.

        Yields:
            A prediction for each video, in their order.
        """
        options = options or self.options()
        with ThreadPoolExecutor(1) as worker:
            under_way: Future[list[Prediction]] | None = None
            for batch in batched(seen, options.batch_size):
                started = worker.submit(self._predict_batch, batch, options)
                if under_way is not None:
                    yield from under_way.result()
                under_way = started
            if under_way is not None:
                yield from under_way.result()

    def _predict_batch(
        self, batch: Sequence[tuple[str, Seen]], options: Options
    ) -> list[Prediction]:
        read = [views for _, views in batch if not isinstance(views, VideoError)]
        probabilities = iter(self._probabilities(read, options) if read else ())
        return [
            Prediction(video, str(views), {}, ())
            if isinstance(views, VideoError)
            else self._prediction(video, next(probabilities), options)
            for video, views in batch
        ]

    def _prediction(self, video: str, probabilities: Floats, options: Options) -> Prediction:
        values = dict(zip(self.classes, map(float, probabilities), strict=True))
        if self.settings.task == "multiclass":
            return Prediction(video, "", values, (max(values, key=lambda name: values[name]),))
        # The rule for the normal class says no by a probability of 0, whatever the threshold.
        labels = tuple(c for c, p in values.items() if p >= options.thresholds[c] and p > 0)
        return Prediction(video, "", values, labels)

    def _probabilities(self, views: Sequence[Mapping[str, Views]], options: Options) -> Floats:
        """Return the ensemble's probabilities, `[videos, classes]`."""
        members = {
            member: self._by_clip(
                self.untrained[member], [video[member] for video in views], options
            )
            if member in self.untrained
            else self._by_networks(member, np.stack([video[member] for video in views]), options)
            for member in options.members
        }
        total = sum(self.rules["members"][member] for member in members)
        normal = self.rules["normal"]
        return combine(
            members,
            {member: self.rules["members"][member] / total for member in members},
            None if normal is None else self.classes.index(normal),
            self.rules["normal_above"],
            partial(calibrate, maps=from_json(self.rules["calibration"])),
        )

    def _by_networks(self, member: str, views: Views, options: Options) -> Floats:
        """Return the mean of a member's folds for `[videos, views, size, size, 3]`."""
        pictures = torch.from_numpy(views).permute(0, 1, 4, 2, 3)
        folds = [
            self._fold(member, network, pictures, options) for network in self.networks[member]
        ]
        return torch.stack(folds).mean(dim=0).double().numpy()

    def _by_clip(self, classifier: ZeroShot, videos: Sequence[Views], options: Options) -> Floats:
        found = classifier.predict(videos)
        if options.tta:
            found = (found + classifier.predict([views[:, :, ::-1] for views in videos])) / 2
        return found

    def _fold(self, member: str, network: Network, pictures: Tensor, options: Options) -> Tensor:
        precision = choose_precision(self.device, self.settings.recipe(member).amp)
        activate = activation(self.settings.task)
        looks = [pictures, pictures.flip(-1)] if options.tta else [pictures]
        found = [
            predict(network, look, options.batch_size, self.device, precision, activate)
            for look in looks
        ]
        return torch.stack(found).mean(dim=0)


def _check_known(kind: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise QvpipeError(f"the model has no {kind} {name!r}, only {', '.join(known)}{hint}")


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Give the items in lists of `size`; the last may be shorter."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def load(bundle: Path, device: str = "auto") -> Predictor:
    """Load an ensemble from the folder that the stage `register` lays together.

    Args:
        bundle: The folder.
        device: Where the networks are to lie; see `compute.device`.

    Raises:
        QvpipeError: If a file of it is missing or is not what it should be.
    """
    settings = config.parse((bundle / "params.yaml").read_text(encoding="utf-8"))
    rules = yaml.safe_load((bundle / "ensemble.json").read_text(encoding="utf-8"))
    where = choose_device(device)
    networks = {
        member: [
            _network(settings, member, len(rules["classes"]), bundle / member / f"fold{fold}").to(
                where
            )
            for fold in rules["folds"]
        ]
        for member in settings.members
    }
    untrained = {
        name: zero_shot(
            load_clip(str(bundle / name), device), rules["classes"], settings.search.zeroshot[name]
        )
        for name in settings.ensemble.zeroshot
    }
    return Predictor(settings, rules, networks, where, untrained)


def _network(settings: Settings, member: str, classes: int, folder: Path) -> Network:
    path = folder / "model.safetensors"
    network = Network(settings.models[member], classes, pretrained="none")
    try:
        network.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise QvpipeError(
            f"the weights of {member} in {folder.name} are missing, damaged or no safetensors of "
            "this model; register it again"
        ) from error
    return network.eval()
