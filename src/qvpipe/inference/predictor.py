"""A trained ensemble that takes paths of videos and gives probabilities."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
import yaml

from qvpipe import config
from qvpipe.config import Settings
from qvpipe.inputs import Views, video_views
from qvpipe.learning.ensemble import Floats, combine
from qvpipe.learning.evaluate import choose_device, choose_precision, predict
from qvpipe.learning.network import Network
from qvpipe.video.reader import VideoError

BATCH = 16
"""Videos that are read, and then go through the networks, together."""


@dataclass(frozen=True)
class Predictor:
    """An ensemble in memory.

    Attributes:
        settings: Those it was trained with.
        rules: models/ensemble/ensemble.json: members and weights, classes, the normal class.
        networks: One for each fold, by member.
        device: Where they lie.
    """

    settings: Settings
    rules: Mapping[str, Any]
    networks: Mapping[str, Sequence[Network]]
    device: torch.device

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the columns of every table."""
        return list(self.rules["classes"])

    def predict(
        self, videos: Sequence[str], progress: Callable[[int], object] = lambda done: None
    ) -> pd.DataFrame:
        """Predict videos.

        Args:
            videos: Paths of video files.
            progress: Called with the number of videos done since the last call.

        Returns:
            A row for each path, in their order: `video` (the path), `status` (`ok` or `failed`),
            `error` (why it failed) and the probability of each class from 0 to 1, which is empty
            where the video failed.
        """
        rows: list[dict[str, object]] = []
        with ThreadPoolExecutor() as pool:
            for batch in _batches(videos):
                rows += self._rows(batch, list(pool.map(self._read, batch)))
                progress(len(batch))
        return pd.DataFrame(rows, columns=["video", "status", "error", *self.classes])

    def _rows(
        self, videos: Sequence[str], views: Sequence[Mapping[str, Views] | VideoError]
    ) -> list[dict[str, object]]:
        read = [v for v in views if not isinstance(v, VideoError)]
        probabilities = iter(self._probabilities(read) if read else ())
        rows: list[dict[str, object]] = []
        for video, result in zip(videos, views, strict=True):
            if isinstance(result, VideoError):
                rows.append({"video": video, "status": "failed", "error": str(result)})
            else:
                values = dict(zip(self.classes, map(float, next(probabilities)), strict=True))
                rows.append({"video": video, "status": "ok", "error": "", **values})
        return rows

    def _read(self, video: str) -> Mapping[str, Views] | VideoError:
        """Return what each member sees of a video, or why it cannot be read."""
        try:
            return video_views(Path(video), self.settings, list(self.networks))
        except VideoError as error:
            return error

    def _probabilities(self, views: Sequence[Mapping[str, Views]]) -> Floats:
        """Return the ensemble's probabilities, `[videos, classes]`."""
        members = {}
        for member, networks in self.networks.items():
            stacked = np.stack([video[member] for video in views])
            pictures = torch.from_numpy(stacked).permute(0, 1, 4, 2, 3)
            precision = choose_precision(self.device, self.settings.recipe(member).amp)
            folds = [
                predict(network, pictures, BATCH, self.device, precision) for network in networks
            ]
            members[member] = torch.stack(folds).mean(dim=0).double().numpy()
        classes, normal = self.classes, self.rules["normal"]
        return combine(
            members,
            self.rules["members"],
            None if normal is None else classes.index(normal),
            self.rules["normal_above"],
        )


def load(bundle: Path, device: str = "auto") -> Predictor:
    """Load an ensemble from the folder that the stage `register` lays together.

    Args:
        bundle: The folder.
        device: Where the networks are to lie; see `compute.device`.
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
        for member in rules["members"]
    }
    return Predictor(settings, rules, networks, where)


def _network(settings: Settings, member: str, classes: int, folder: Path) -> Network:
    network = Network(settings.models[member], classes, pretrained="none")
    network.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
    return network.eval()


def _batches(videos: Sequence[str]) -> Iterator[tuple[str, ...]]:
    remaining = iter(videos)
    while batch := tuple(itertools.islice(remaining, BATCH)):
        yield batch
