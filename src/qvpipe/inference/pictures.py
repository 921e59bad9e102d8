"""Explanations as pictures and JSON."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from qvpipe import files
from qvpipe.inference.explain import Explanation, Moment
from qvpipe.inference.gradcam import Heat
from qvpipe.video.images import Image, encode_jpeg

QUALITY = 90
HEAT_SHARE = 0.45
"""How much of a picture the hottest colour covers."""

BOX_COLOUR = (255, 255, 255)
BOX_EDGE = (0, 0, 0)


def overlay(frame: Image, heat: Heat) -> Image:
    """Return a picture with heat over it.

    Args:
        frame: uint8 `[height, width, 3]`, RGB.
        heat: From 0 to 1, `[height, width]`.
    """
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = HEAT_SHARE * heat[..., np.newaxis]
    mixed = (1 - share) * frame + share * cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(mixed.astype(np.uint8))


def draw(moment: Moment) -> Image:
    """Return a moment's frame at full size, with the heat over it and the box around it."""
    picture = overlay(moment.frame, moment.heat)
    left, top, right, bottom = moment.box
    thickness = max(1, round(min(picture.shape[:2]) / 200))
    for colour, width in ((BOX_EDGE, 3 * thickness), (BOX_COLOUR, thickness)):
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, width)
    return picture


def write_explanation(
    explanation: Explanation,
    folder: Path,
    classes: Sequence[str],
    thresholds: Mapping[str, float],
    meanings: Mapping[str, str],
) -> Path:
    """Write an explanation into a folder: `<video>.json` and a picture for each moment.

    Args:
        explanation: Of a video.
        folder: Where; made if it does not exist.
        classes: All classes of the model.
        thresholds: Of each class that hangs on one.
        meanings: What classes mean, for those that are codes.

    Returns:
        The JSON: `video`, `labels`, for each explained class its `probability`, its `threshold` and
        its `moments` (`time_s`, `frame`, `share`, `point` and `box` in pixels, `picture`), and the
        `frame_scores` of frame-wise members.
    """
    name = _safe(Path(explanation.prediction.video).stem)
    shown: list[dict[str, Any]] = []
    for seeing in explanation.seeings:
        moments = []
        for number, moment in enumerate(seeing.moments, start=1):
            picture = f"{name}_{_safe(seeing.name)}_{number}.jpg"
            with files.replacing(folder / picture) as temporary:
                temporary.write_bytes(encode_jpeg(draw(moment), QUALITY))
            moments.append(
                {
                    "time_s": round(moment.time_s, 3),
                    "frame": moment.index,
                    "share": round(moment.share, 4),
                    "point": moment.point,
                    "box": moment.box,
                    "picture": picture,
                }
            )
        shown.append(
            {
                "class": seeing.name,
                "meaning": meanings.get(seeing.name, ""),
                "probability": explanation.prediction.probabilities[seeing.name],
                "threshold": thresholds.get(seeing.name),
                "moments": moments,
            }
        )
    frame_scores = {
        member: [
            {"time_s": round(float(time), 3), **dict(zip(classes, row, strict=True))}
            for time, row in zip(explanation.times, scores.round(4).tolist(), strict=True)
        ]
        for member, scores in explanation.frame_scores.items()
    }
    path = folder / f"{name}.json"
    files.write_json(
        path,
        {
            "video": explanation.prediction.video,
            "labels": list(explanation.prediction.labels),
            "classes": shown,
            "frame_scores": frame_scores,
        },
    )
    return path


def _safe(name: str) -> str:
    """Return a name that is one file's on every system."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"
