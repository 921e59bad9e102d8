"""From a take to the pictures of a clip."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from qvpipe.demo.clip import Take
from qvpipe.demo.geometry import FAR, Camera, Hits, View
from qvpipe.demo.journey import FPS
from qvpipe.demo.look import Look
from qvpipe.demo.noise import Floats, Picture, Rng, floats, to_picture
from qvpipe.demo.shape import Step, meet_shape
from qvpipe.demo.surfaces import Lookup, Texture, Water, WaterView

_MARGIN = 8
_NOISE_TILES = 4
_COARSE = 3


@dataclass(frozen=True)
class Layer:
    """One tube of the pipe as a camera sees it.

    Attributes:
        lookup: How its wall is drawn.
        depth: Depth of the wall for each pixel.
        lit: Gain of the light for each pixel and channel, 128 standing for 1.
    """

    lookup: Lookup
    depth: Floats
    lit: Picture

    def draw(self, texture: Texture, z: float) -> Picture:
        """Draw the lit wall as seen from z."""
        canvas = self.lookup.draw(texture, z)
        return cv2.multiply(canvas, self.lit, canvas, 1 / 128).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Setting:
    """A camera pose with all that has been computed for it.

    Attributes:
        view: The rays.
        pipe: The pipe that the camera is in.
        water: The water, if any is in sight.
        shifted: Pipes behind misaligned joints, by their shift (x, y).
    """

    view: View
    pipe: Layer
    water: WaterView | None
    shifted: dict[tuple[float, float], Layer] = field(default_factory=dict)


class Renderer:
    """Renders the frames of one take."""

    def __init__(self, take: Take, width: int, height: int) -> None:
        """Prepare textures and the pose of the straight pipe.

        Args:
            take: What there is to see.
            width: Width of the pictures in pixels.
            height: Height of the pictures in pixels.
        """
        self.take = take
        self.width, self.height = width, height
        look = take.scene.look
        self._texture = Texture.of(take.scene.wall)
        self._solids = sorted(take.scene.solids, key=lambda solid: -solid.z)
        focal = width / 2 / math.tan(look.field_of_view / 2)
        canvas = width + 2 * _MARGIN, height + 2 * _MARGIN
        roll = take.journey.roll
        self._base = Camera(
            look.camera_x, look.camera_y, 0, look.yaw, look.pitch, roll, focal, *canvas
        )
        self._pattern = look.light.pattern(*canvas)
        self._settings: dict[Camera, Setting] = {}
        self._still_camera: Camera | None = None
        self._still_life: tuple[Picture, Floats]
        self._noise = _noise_tiles(np.random.default_rng(take.seed), look.noise, width, height)

    def frames(self) -> Iterator[Picture]:
        """Render one picture (height, width, 3) after another, BGR."""
        for number in range(self.take.journey.frames):
            yield self.frame(number)

    def frame(self, number: int) -> Picture:
        """Render one frame."""
        journey, scene = self.take.journey, self.take.scene
        z, second = float(journey.z[number]), number / FPS
        camera = self.camera(number)
        setting = self._setting(camera)
        canvas, depth = self._draw_still_life(camera, setting, z)
        if setting.water is not None:
            setting.water.draw(canvas, self._texture, depth, z, second)
        for relief in scene.scum:
            relief.draw(canvas, setting.pipe.lit, setting.view, depth, z)
        for solid in self._solids:
            solid.draw(canvas, camera, scene.look.light, second)
        picture = self._shoot(canvas, number)
        metres = (z - float(journey.z[0])) * scene.look.radius_m
        self.take.stamp.draw(picture, metres, second)
        return picture

    def camera(self, number: int) -> Camera:
        """The camera's pose at a frame."""
        journey, shape = self.take.journey, self.take.scene.shape
        z = float(journey.z[number])
        x, y = shape.centre(floats([z, z + 0.3]))
        for step in shape.steps:
            x, y = x + step.x * (z > step.z), y + step.y * (z > step.z)
        height = self._base.y + float(y[0])
        return replace(
            self._base,
            x=self._base.x + float(x[0]),
            y=min(height, _above(self.take.scene.water)),
            z=z,
            yaw=self._base.yaw + float(journey.yaw[number]) + math.atan((x[1] - x[0]) / 0.3),
            pitch=self._base.pitch
            + float(journey.pitch[number])
            + 0.6 * math.atan((y[1] - y[0]) / 0.3),
        )

    def corner(self, number: int) -> tuple[int, int]:
        """Pixel (x, y) of the canvas that is the first one of the picture at a frame."""
        x, y = _MARGIN - np.clip(np.round(self.take.journey.sway[number]), -_MARGIN, _MARGIN)
        return int(x), int(y)

    def _setting(self, camera: Camera) -> Setting:
        shape = self.take.scene.shape
        if shape.is_smoothly_bent(camera.z):
            hits, facing = meet_shape(camera, shape)
            return self._new_setting(View(replace(camera, z=0.0)), hits, facing)
        pose = replace(camera, z=0.0)
        if pose not in self._settings:
            # Poses of a turning head don't come back, so only the latest few are kept.
            if len(self._settings) > 3:
                self._settings.popitem()
            view = View(pose)
            self._settings[pose] = self._new_setting(view, view.tube(), None)
        return self._settings[pose]

    def _new_setting(self, view: View, hits: Hits, facing: Floats | None) -> Setting:
        scene = self.take.scene
        pipe = self._layer(hits, facing)
        water = None
        if scene.water is not None:
            light = scene.look.light
            water = WaterView.of(scene.water, view, hits.depth, light, self._pattern)
        return Setting(view, pipe, water)

    def _layer(self, hits: Hits, facing: Floats | None = None) -> Layer:
        light = self.take.scene.look.light
        coarse = light.gain(np.ascontiguousarray(hits.depth[::_COARSE, ::_COARSE]))
        size = (hits.depth.shape[1], hits.depth.shape[0])
        gain = light.gain(hits.depth) if facing is None else cv2.resize(coarse, size)
        lit = gain * self._pattern
        if facing is not None:
            lit *= facing
        lit = np.minimum(lit, 1.75)
        channels = [np.clip(lit * (128 * cast), 0, 255).astype(np.uint8) for cast in light.cast]
        joined = cv2.merge(channels).astype(np.uint8)
        return Layer(Lookup.of(hits, reused=facing is None), hits.depth, joined)

    def _draw_still_life(
        self, camera: Camera, setting: Setting, z: float
    ) -> tuple[Picture, Floats]:
        # While the camera stands still, only water and drops have to be drawn anew.
        if camera != self._still_camera:
            canvas = self._draw_pipe(setting, z)
            depth = setting.pipe.depth.copy()
            for relief in self.take.scene.reliefs:
                relief.draw(canvas, setting.pipe.lit, setting.view, depth, z)
            self._still_camera, self._still_life = camera, (canvas, depth)
        canvas, depth = self._still_life
        return canvas.copy(), depth.copy()

    def _draw_pipe(self, setting: Setting, z: float) -> Picture:
        canvas = setting.pipe.draw(self._texture, z)
        shape = self.take.scene.shape
        if not shape.is_smoothly_bent(z):
            for step in shape.steps:
                if 0.05 < step.z - z < FAR * 0.8:
                    self._draw_step(canvas, setting, step, z)
        return canvas

    def _draw_step(self, canvas: Picture, setting: Setting, step: Step, z: float) -> None:
        ahead = step.z - z
        key = (step.x, step.y)
        if key not in setting.shifted:
            setting.shifted[key] = self._layer(setting.view.tube(1.0, *key))
        behind = setting.shifted[key]
        opening = setting.pipe.depth > ahead
        picture = behind.draw(self._texture, z)
        face = opening & (behind.depth < ahead)
        picture[face] = _end_face(self.take.scene.look, picture[face], ahead)
        cv2.copyTo(picture, opening.astype(np.uint8), canvas)

    def _shoot(self, canvas: Picture, number: int) -> Picture:
        journey = self.take.journey
        x, y = self.corner(number)
        picture = np.ascontiguousarray(canvas[y : y + self.height, x : x + self.width])
        blur, shake = float(journey.blur[number]), float(journey.shake[number])
        softness = self.take.scene.look.softness
        if blur > 0 and not math.isnan(shake):
            picture = cv2.filter2D(picture, -1, _streak(blur, shake)).astype(np.uint8)
        elif blur > 0 or softness > 0:
            sigma = max(blur * 0.7, softness)
            picture = cv2.GaussianBlur(picture, (0, 0), sigma).astype(np.uint8)
        tile = self._noise[number % _NOISE_TILES]
        top, left = (number * 37) % 32, (number * 53) % 32
        noise = tile[top : top + self.height, left : left + self.width]
        return cv2.addWeighted(picture, 1, noise, 1, -128).astype(np.uint8)


def _above(water: Water | None) -> float:
    """Lowest height y of a camera that mustn't dive."""
    return math.inf if water is None else water.level - 0.2


def _end_face(look: Look, wall: Picture, ahead: float) -> Picture:
    """Colour of a pipe's end face, given the wall (n, 3) beside it."""
    gain = float(look.light.gain(floats([ahead]))[0])
    cut = (floats(look.bright) * 0.5 + 62) * min(gain, 1.0)
    return np.clip(0.55 * wall.astype(np.float32) + cut, 0, 255).astype(np.uint8)


def _streak(blur: float, direction: float) -> Floats:
    size = 2 * math.ceil(blur) + 1
    kernel = np.zeros((size, size), np.float32)
    reach = size // 2
    dx, dy = round(reach * math.cos(direction)), round(reach * math.sin(direction))
    cv2.line(kernel, (reach - dx, reach - dy), (reach + dx, reach + dy), 1.0)
    return floats(kernel / kernel.sum())


def _noise_tiles(rng: Rng, sigma: float, width: int, height: int) -> list[Picture]:
    shape = (height + 32, width + 32)
    tiles = []
    for _ in range(_NOISE_TILES):
        grey = rng.standard_normal((*shape, 1), dtype=np.float32)
        small = rng.standard_normal((shape[0] // 2, shape[1] // 2, 3), dtype=np.float32)
        colour = 0.5 * cv2.resize(small, (shape[1], shape[0]))
        tiles.append(to_picture(128 + sigma * (grey + colour)))
    return tiles
