"""The text that an inspection system stamps into its pictures."""

import datetime
from dataclasses import dataclass

import cv2

from qvpipe.demo.look import Look
from qvpipe.demo.noise import Picture

_WHITE, _YELLOW, _GREEN = (240, 240, 240), (40, 230, 240), (90, 230, 90)


@dataclass(frozen=True)
class Stamp:
    """The lines of text of one clip.

    Attributes:
        pipe: Name of the pipe.
        start: Moment of the first frame.
        start_m: Counter at the first frame, in metres.
        style: Number of the style, 0 to 3.
    """

    pipe: str
    start: datetime.datetime
    start_m: float
    style: int

    def draw(self, picture: Picture, metres: float, second: float) -> None:
        """Draw the text in place.

        Args:
            picture: BGR picture.
            metres: Way from the first frame on.
            second: Time from the first frame on.
        """
        height, width = picture.shape[:2]
        size = height / 288
        counter = f"{max(self.start_m + metres, 0):06.2f}"
        now = self.start + datetime.timedelta(seconds=second)
        left, right, top, low = 8, width - 8, round(18 * size), height - 9
        if self.style == 0:
            _write(picture, f"{counter} m", (left, low), size, _WHITE)
            _write(picture, f"{now:%Y-%m-%d %H:%M:%S}", (left, top), size, _WHITE)
            _write(picture, self.pipe, (right, low), size, _WHITE, from_right=True)
        elif self.style == 1:
            _write(picture, self.pipe, (left, top), size, _YELLOW)
            _write(picture, f"L:{counter}m", (right, low), size, _YELLOW, from_right=True)
            _write(picture, f"{now:%d.%m.%Y}", (right, top), size, _YELLOW, from_right=True)
        elif self.style == 2:
            _write(picture, f"{now:%y/%m/%d}  {self.pipe}", (left, low), size, _GREEN)
            _write(picture, f"{counter}M", (right, low), size, _GREEN, from_right=True)
        else:
            _write(picture, f"{counter}m", (right, low), size, _WHITE, from_right=True)


def stamp_of(look: Look, start_m: float, second_of_day: int) -> Stamp:
    """The text of a clip that starts at this counter and this second of the day."""
    midnight = datetime.datetime.combine(look.date, datetime.time())
    start = midnight + datetime.timedelta(seconds=second_of_day)
    return Stamp(look.pipe, start, start_m, look.text_style)


def _write(
    picture: Picture,
    text: str,
    place: tuple[int, int],
    size: float,
    colour: tuple[int, int, int],
    *,
    from_right: bool = False,
) -> None:
    scale = 0.85 * size
    x, y = place
    if from_right:
        x -= cv2.getTextSize(text, cv2.FONT_HERSHEY_PLAIN, scale, 1)[0][0]
    cv2.putText(picture, text, (x + 1, y + 1), cv2.FONT_HERSHEY_PLAIN, scale, (10, 10, 10), 1)
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_PLAIN, scale, colour, 1)
