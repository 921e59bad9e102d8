"""params.yaml as frozen, checked settings.

`parse` checks the whole file before any work is done. Whatever is wrong is one line that names
the key, what was found, what is allowed and, for a typo, the nearest key.
"""

import dataclasses
import difflib
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import yaml

from qvpipe.errors import QvpipeError

QVPIPE_MEANINGS: Mapping[str, str] = types.MappingProxyType(
    {
        "ZC": "normal",
        "CJ": "deposit",
        "CK": "misaligned joint",
        "ZW": "obstacle",
        "JG": "scaling",
        "SG": "tree roots",
        "PL": "rupture, crack",
        "BX": "deformation",
        "CR": "foreign object intrusion",
        "FZ": "scum",
        "FS": "corrosion",
        "AJ": "concealed branch connection",
        "CQ": "residual wall or dam",
        "SL": "leakage",
        "QF": "undulation",
        "TJ": "separated joint",
        "TL": "joint material loss",
    }
)
"""The classes of QV-Pipe in their official order: code to meaning."""

QVPIPE_CLASSES = tuple(QVPIPE_MEANINGS)

RESERVED_COLUMNS = ("video", "status", "error", "labels")
"""The columns of a table of predictions beside the classes."""

FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What a name that becomes a folder's may be."""

Kind = TypeVar("Kind")


class SettingsError(QvpipeError):
    """A setting in params.yaml that cannot be used; the message names it."""


@dataclass(frozen=True)
class Between:
    """The closed range of values that a number may have."""

    low: float
    high: float = float("inf")

    def __str__(self) -> str:
        """Say the range as a person would."""
        if self.high == float("inf"):
            return f"{self.low} or more"
        return f"{self.low} to {self.high}"


Share = Annotated[float, Between(0, 1)]
Count = Annotated[int, Between(1)]


@dataclass(frozen=True)
class DataSettings:
    """Where the raw videos or images, their labels and the classes come from."""

    videos: str
    """Folder of the raw videos or images, with any folders in it; relative to the repository or
    absolute."""
    labels: str
    """A label file, see src/qvpipe/video/labels.py, or `folders`: each item is of the class that
    the folder it lies in is called after."""
    classes: str = "qvpipe"
    """`qvpipe` for the 17 classes of QV-Pipe, a text file with one class name on each line, or
    `labels` for the names that the labels use, in alphabetical order."""
    validation: str | None = None
    """Folder in `videos` whose items are validated on, as the one fold that is left out, while all
    others are learned from; None deals the items out to folds."""
    test: str | None = None
    """Folder in `videos` whose items are the test set, which is in no fold."""
    shortest_s: Annotated[float, Between(0)] | None = None
    """Seconds below which a video is left out; None leaves none out."""
    longest_s: Annotated[float, Between(0)] | None = None
    """Seconds above which a video is left out; None leaves none out."""
    normal: str | None = "ZC"
    """The class that stands alone and is no defect; has no effect where no class has that name."""
    group: str = r"^(.+)_\d+$"
    """Regular expression on a video's id. Its first group names the inspection; an id that it
    does not match is an inspection of its own."""


@dataclass(frozen=True)
class FramesSettings:
    """What is taken from a video and kept of it."""

    count: Annotated[int, Between(1, 1000)] = 27
    """Candidate frames per video, evenly spaced; cleaning chooses among them."""
    size: Annotated[int, Between(16, 4320)] = 288
    """Shorter side of a stored frame in pixels; smaller videos are not enlarged."""
    quality: Annotated[int, Between(1, 100)] = 92
    """JPEG quality of a stored frame."""
    sampling: Literal["even", "keyframe"] = "even"
    """`keyframe` takes the keyframe nearest to each candidate's place instead, which decodes less
    of a long video."""
    decoder: Literal["pyav", "decord"] = "pyav"
    """`decord` is the package of that name; it refuses some videos that `pyav` reads."""
    timeout_s: Annotated[float, Between(1)] = field(default=300.0, compare=False)
    """Seconds that reading one video may take before it is given up. Changes no frame, so frames
    that were taken with another limit stay."""


@dataclass(frozen=True)
class CleanSettings:
    """Which frames are thrown out."""

    blur_ratio: Share = 0.3
    """A frame is blurred if its sharpness is below this share of its video's median."""
    max_distance: Annotated[int, Between(-1, 64)] = 4
    """A frame repeats an earlier one if at most this many of the 64 bits of their perceptual
    hashes differ; -1 keeps every frame."""
    twin_share: Annotated[float, Between(0.01, 1)] = 0.2
    """Two videos show the same, and go into one fold, if this share of the frames of the one
    have their like in the other."""


@dataclass(frozen=True)
class SplitsSettings:
    """How the videos are divided."""

    folds: Annotated[int, Between(2, 100)] = 5
    """Number of folds."""


@dataclass(frozen=True)
class SuperimagesSettings:
    """How super-images are laid out."""

    grid: Annotated[int, Between(1, 10)] = 3
    """Tiles in a row and in a column."""
    tile: Annotated[int, Between(8, 1024)] = 96
    """Side of a square tile in pixels."""
    fit: Literal["squash", "letterbox"] = "squash"
    """How a frame becomes square: by changing its aspect, or with black bars."""
    quality: Annotated[int, Between(1, 100)] = 92
    """JPEG quality of a super-image."""


@dataclass(frozen=True)
class TrainSettings:
    """The recipe; each model may override any of it. Its defaults are those for QV-Pipe."""

    epochs: Count = 30
    batch_size: Count = 16
    """Items per step, of all processes together."""
    accumulate: Count = 1
    """Parts in which a batch goes through the network, for less memory; their gradients add up."""
    optimizer: Literal["adamw", "rmsprop"] = "adamw"
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    """How the learning rate goes: up to `lr` and down again by OneCycle, by a straight line and
    half a cosine, or always `lr`."""
    lr: Annotated[float, Between(0)] = 2e-4
    """Peak learning rate."""
    backbone_lr_factor: Annotated[float, Between(0)] = 1.0
    """The backbone's learning rate as a share of `lr`."""
    weight_decay: Annotated[float, Between(0)] = 1e-2
    """Of all weights but those of norms and biases."""
    warmup: Share = 0.3
    """Share of the steps in which the learning rate rises; without effect on a constant one."""
    clip_norm: Annotated[float, Between(0)] = 0.0
    """Largest norm of the gradient; 0 does not clip."""
    ema_decay: Annotated[float, Between(0, 0.999999)] = 0.9997
    """Decay per step of the moving average of the weights; 0 switches it off."""
    patience: Count = 8
    """Epochs without a better validation mAP, or accuracy for `multiclass`, after which training
    stops."""
    flip: Share = 0.5
    """Probability that an item is flipped horizontally."""
    tile_shuffle: Share = 0.5
    """Probability that tiles of a super-image change places."""
    tile_share: Share = 0.34
    """Share of its tiles that change places then."""
    rotate: Annotated[float, Between(0, 180)] = 0.0
    """An item is turned by up to so many degrees, either way; what it leaves is black."""
    zoom_in: Annotated[float, Between(0, 0.9)] = 0.0
    """Largest share of a picture's sides that is cut off, the rest filling the picture."""
    zoom_out: Annotated[float, Between(0, 9)] = 0.0
    """Largest share of a picture's sides that is added in black, the whole filling the picture."""
    mixup: Annotated[float, Between(0)] = 0.0
    """Alpha of MixUp; 0 switches it off."""
    amp: Literal["auto", "bf16", "fp16", "none"] = "auto"
    """Mixed precision; `auto` is the best that a GPU has, and none on a CPU."""
    checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, but slower."""
    channels_last: bool = True
    """Memory format; which one is faster differs from backbone to backbone. Without effect on
    backbones of clips."""
    compile: bool = False
    """Compile the network, which costs minutes at the start."""


@dataclass(frozen=True)
class CeSettings:
    """Settings of cross-entropy over the classes of a single choice."""

    label_smoothing: Share = 0.0
    """How far the targets are moved towards all classes alike."""


@dataclass(frozen=True)
class BceSettings:
    """Settings of binary cross-entropy."""

    label_smoothing: Share = 0.0
    """How far the targets 0 and 1 are moved towards one half."""


@dataclass(frozen=True)
class AslSettings:
    """Settings of the asymmetric loss (Ridnik et al., 2021)."""

    gamma_neg: Annotated[float, Between(0)] = 4.0
    gamma_pos: Annotated[float, Between(0)] = 0.0
    clip: Share = 0.05
    """Negatives with a probability below this cost nothing."""


@dataclass(frozen=True)
class CbFocalSettings:
    """Settings of the class-balanced focal loss (Cui et al., 2019)."""

    beta: Annotated[float, Between(0, 0.999999)] = 0.99
    gamma: Annotated[float, Between(0)] = 2.0


@dataclass(frozen=True)
class LossesSettings:
    """The settings of every loss; `loss` says which one is used."""

    bce: BceSettings = field(default_factory=BceSettings)
    ce: CeSettings = field(default_factory=CeSettings)
    asl: AslSettings = field(default_factory=AslSettings)
    cb_focal: CbFocalSettings = field(default_factory=CbFocalSettings)


@dataclass(frozen=True)
class ModelSettings:
    """One model: its input, its backbone, its head and what it overrides of `train`."""

    input: Literal["frames", "superimage", "clip"]
    size: Annotated[int, Between(16, 4320)]
    """Side of the square picture that enters the network, in pixels."""
    backbone: str
    """Name of a timm model; for the input `clip`, of a model in src/qvpipe/learning/clips.py."""
    architecture: Mapping[str, Any] = field(default_factory=dict)
    """What the backbone of clips has otherwise than its name says, by the names that its library
    has for it."""
    frames: Count = 5
    """Frames of a video: the input `frames` averages the logits over them, the input `clip` takes
    them together."""
    head: Literal["linear", "mlp", "ml_decoder"] = "linear"
    pretrained: str = "bundled"
    """`bundled` (weights from an installed package), `hub`, `none`, or a safetensors file; for
    VideoMAE also a folder that `save_pretrained` wrote, or the id of a model on the hub."""
    freeze: tuple[str, ...] = ()
    """Parts of the backbone, by timm's names, that keep their pretrained weights and statistics."""
    dropout: Share = 0.0
    """Dropout before each layer of the head."""
    hidden: Annotated[int, Between(0)] = 0
    """Width of the hidden layer of the head `mlp`; 0 is as wide as the features."""
    activation: Literal["gelu", "relu"] = "gelu"
    """What follows that layer."""
    train: Mapping[str, Any] = field(default_factory=dict)
    """Keys of `train` with the values that this model uses instead."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how to pickle it for processes that read pictures; see `Settings.__reduce__`."""
        return _dataclass, (ModelSettings, as_tree(self), "")


@dataclass(frozen=True)
class EnsembleSettings:
    """How the members' predictions are put together."""

    weights: Literal["validation", "equal"] | Mapping[str, Annotated[float, Between(0)]] = (
        "validation"
    )
    """Members weighted by how good they are in validation (mAP, or accuracy for `multiclass`), or
    all alike, or a weight for each of them; only how the weights stand to one another counts."""
    zeroshot: tuple[str, ...] = ()
    """Entries of `search.zeroshot` whose labels, given without training, join the members."""
    normal_above: Share | None = 0.9
    """Above this probability the normal class stands alone: all others become 0. The probability
    is the members' mean before calibration."""
    calibration: Literal["none", "platt", "isotonic"] = "platt"
    """How probabilities are made to say how often they are right, on the predictions out of fold.
    It changes no average precision."""
    threshold: Literal["f1", "f2", "precision", "recall"] = "f1"
    """What the threshold of each class is chosen for, on the same predictions: the best F1 or F2,
    or a precision or a recall of `at_least`."""
    at_least: Share = 0.8
    """The wanted precision or recall; without effect for `f1` and `f2`."""


@dataclass(frozen=True)
class SearchSettings:
    """Search for frames by text and by example, and labels without training."""

    frames: Literal["middle", "all"] = "middle"
    """Which of a video's stored frames are embedded."""
    batch_size: Count = 64
    """Pictures that are embedded together; changes no result."""
    embedders: Mapping[str, str] = field(default_factory=dict)
    """CLIP models, each the name of a folder in `data/search` and where the model comes from: its
    name on the hub, or a folder. None by default, since they need requirements-search.txt."""
    zeroshot: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The embedders that also label videos, each with templates of the prompt in which `{}` stands
    for the name of a class; the embeddings of several are averaged."""


@dataclass(frozen=True)
class MlflowSettings:
    """Names in MLflow."""

    experiment: str = "qvpipe"
    model: str = "qvpipe"


@dataclass(frozen=True)
class ComputeSettings:
    """What the work runs on; changes no result's meaning, so no stage depends on it."""

    workers: Annotated[int, Between(0, 1024)] = 0
    """Processes that work on videos; 0 is one for each core. On a cluster, its cores count."""
    engine: Literal["local", "ray"] = "local"
    """What runs the work on videos: processes of this machine, or Ray, which also trains members
    and folds at once."""
    address: str | None = None
    """The Ray cluster, such as `10.0.0.1:6379`; None for Ray on this machine alone. Its machines
    see the repository and the raw videos under the same paths as this one."""
    device: str = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""
    cache: Literal["auto", "device", "workers"] = "auto"
    """Where training pictures come from: all held decoded in the `device`'s memory, or read again
    for every batch by `workers`; `auto` holds them where they fit."""


@dataclass(frozen=True)
class Settings:
    """The whole of params.yaml."""

    members: tuple[str, ...]
    """Names of the entries of `models` that are trained."""
    folds: tuple[Annotated[int, Between(0)], ...]
    """The folds that are trained, numbered from 0; fewer than `splits.folds` for a quick try."""
    data: DataSettings
    models: Mapping[str, ModelSettings]
    seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    task: Literal["multilabel", "multiclass"] = "multilabel"
    """Any number of classes to an item, or exactly one."""
    loss: Literal["bce", "asl", "cb_focal", "ce"] = "bce"
    """`ce` for `multiclass`, any other for `multilabel`."""
    frames: FramesSettings = field(default_factory=FramesSettings)
    clean: CleanSettings = field(default_factory=CleanSettings)
    splits: SplitsSettings = field(default_factory=SplitsSettings)
    superimages: SuperimagesSettings = field(default_factory=SuperimagesSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    losses: LossesSettings = field(default_factory=LossesSettings)
    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    mlflow: MlflowSettings = field(default_factory=MlflowSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how to pickle settings for another process: a mapping proxy cannot be pickled."""
        return _dataclass, (Settings, as_tree(self), "")

    @property
    def voters(self) -> tuple[str, ...]:
        """All members of the ensemble: those that are trained, and those that need no training."""
        return (*self.members, *self.ensemble.zeroshot)

    def recipe(self, member: str) -> TrainSettings:
        """Return `train` with what the member's model overrides."""
        overrides = self.models[member].train
        return _dataclass(
            TrainSettings,
            {**dataclasses.asdict(self.train), **overrides},
            f"models.{member}.train",
        )


def parse(text: str) -> Settings:
    """Check the text of a params.yaml.

    Raises:
        SettingsError: On the first thing that is wrong, in one line.
    """
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"params.yaml is no valid YAML: {_one_line(str(error))}") from error
    settings = _dataclass(Settings, tree, "")
    _check_across(settings)
    return settings


def as_tree(settings: Any) -> dict[str, Any]:  # noqa: ANN401 - any settings dataclass
    """Return settings as plain dicts, lists and scalars, such as YAML and JSON hold."""
    return {f.name: _plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}


def _check_across(settings: Settings) -> None:
    for name in settings.models:
        if not FOLDER_NAME.fullmatch(name):
            raise SettingsError(
                f"models.{name}: a model's name becomes a folder's; use letters, digits, '-', '_'"
            )
    if not settings.members:
        raise SettingsError("members: is empty; name at least one of " + _listed(settings.models))
    for member in settings.members:
        if member not in settings.models:
            raise SettingsError(
                f"members: found {member!r}, which models has no entry for; "
                f"allowed is any of {_listed(settings.models)}{_nearest(member, settings.models)}"
            )
        settings.recipe(member)
    _check_search(settings.search)
    _check_zeroshot(settings)
    _check_weights(settings)
    _check_task(settings)
    unique = {
        "members": settings.members,
        "folds": settings.folds,
        "ensemble.zeroshot": settings.ensemble.zeroshot,
    }
    for key, values in unique.items():
        if len(set(values)) < len(values):
            raise SettingsError(f"{key}: found {list(values)}; each may stand there only once")
    if not settings.folds or max(settings.folds) >= settings.splits.folds:
        raise SettingsError(
            f"folds: found {list(settings.folds)}; allowed is any choice of at least one from "
            f"0 to {settings.splits.folds - 1}, because splits.folds is {settings.splits.folds}"
        )
    try:
        groups = re.compile(settings.data.group).groups
    except re.error as error:
        raise SettingsError(f"data.group: is no valid regular expression ({error})") from error
    if groups < 1:
        raise SettingsError(
            f"data.group: found {settings.data.group!r}, which has no (...) around the part "
            "that names the inspection"
        )
    most = settings.superimages.grid**2
    if settings.frames.count < most:
        raise SettingsError(
            f"frames.count: found {settings.frames.count}; allowed is {most} or more, the tiles "
            f"of a {settings.superimages.grid} x {settings.superimages.grid} super-image"
        )
    if settings.superimages.tile > settings.frames.size:
        raise SettingsError(
            f"superimages.tile: found {settings.superimages.tile}; allowed is 8 to "
            f"{settings.frames.size}, because frames.size is {settings.frames.size} and a larger "
            "tile would only be enlarged"
        )
    for name, model in settings.models.items():
        if model.input != "superimage" and model.frames > settings.frames.count:
            raise SettingsError(
                f"models.{name}.frames: found {model.frames}; allowed is 1 to "
                f"{settings.frames.count}, because frames.count is {settings.frames.count}"
            )
        if model.input == "superimage" and model.size % settings.superimages.grid:
            raise SettingsError(
                f"models.{name}.size: found {model.size}; allowed is a multiple of "
                f"{settings.superimages.grid}, because superimages.grid is "
                f"{settings.superimages.grid}"
            )
        if model.input == "clip" and model.head == "ml_decoder":
            raise SettingsError(
                f"models.{name}.head: found 'ml_decoder'; allowed is linear or mlp, because the "
                "input is clip and its backbones give no maps"
            )
        if model.input != "clip" and model.architecture:
            raise SettingsError(
                f"models.{name}.architecture: is for the input clip alone, and this one is "
                f"{model.input}; remove it"
            )
    shortest, longest = settings.data.shortest_s, settings.data.longest_s
    if shortest is not None and longest is not None and shortest > longest:
        raise SettingsError(
            f"data.shortest_s: found {shortest:g}; allowed is at most data.longest_s, {longest:g}"
        )


def _check_task(settings: Settings) -> None:
    if (settings.loss == "ce") != (settings.task == "multiclass"):
        allowed = "ce" if settings.task == "multiclass" else "any but ce"
        raise SettingsError(
            f"loss: found {settings.loss!r}; allowed is {allowed}, because task is {settings.task}"
        )
    if settings.task == "multiclass" and settings.ensemble.calibration != "none":
        raise SettingsError(
            f"ensemble.calibration: found {settings.ensemble.calibration!r}; allowed is none, "
            "because task is multiclass and its probabilities add up to 1"
        )
    if settings.data.validation and (settings.splits.folds, settings.folds) != (2, (0,)):
        raise SettingsError(
            f"folds: found {list(settings.folds)} of {settings.splits.folds}; allowed is [0] with "
            "splits.folds 2, because data.validation gives the items of fold 0, and fold 1 holds "
            "all others"
        )


def _check_weights(settings: Settings) -> None:
    weights = settings.ensemble.weights
    if not isinstance(weights, Mapping):
        return
    known = (*settings.models, *settings.ensemble.zeroshot)
    for name in weights:
        if name not in known:
            raise SettingsError(
                f"ensemble.weights.{name}: models has no entry of that name; allowed is any of "
                f"{_listed(known)}{_nearest(name, known)}"
            )
    if not any(weights.get(member, 0) for member in settings.voters):
        raise SettingsError("ensemble.weights: no member has a weight above 0; give one to one")
    for member in settings.voters:
        if member not in weights:
            raise SettingsError(
                f"ensemble.weights: has no weight for the member {member}; add it, 0 for none"
            )


def _check_search(search: SearchSettings) -> None:
    for name in search.embedders:
        if not FOLDER_NAME.fullmatch(name):
            raise SettingsError(
                f"search.embedders.{name}: the name becomes a folder's; use letters, digits, "
                "'-', '_'"
            )
    for name, templates in search.zeroshot.items():
        if name not in search.embedders:
            raise SettingsError(
                f"search.zeroshot.{name}: search.embedders has no entry of that name; allowed is "
                f"any of {_listed(search.embedders) or 'none'}{_nearest(name, search.embedders)}"
            )
        if not templates or any(template.count("{}") != 1 for template in templates):
            raise SettingsError(
                f"search.zeroshot.{name}: found {list(templates)}; allowed is a list of prompts "
                'with {} in each where the name of the class stands, such as ["a photo of {}"]'
            )


def _check_zeroshot(settings: Settings) -> None:
    known = settings.search.zeroshot
    for name in settings.ensemble.zeroshot:
        if name not in known:
            raise SettingsError(
                f"ensemble.zeroshot: found {name!r}, which search.zeroshot has no entry for; "
                f"allowed is any of {_listed(known) or 'none'}{_nearest(name, known)}"
            )
        if name in settings.models:
            raise SettingsError(
                f"ensemble.zeroshot: found {name!r}, which is also an entry of models; give the "
                "embedder another name, since members are told apart by theirs"
            )


def _dataclass(kind: type[Kind], value: object, where: str) -> Kind:
    if not isinstance(value, Mapping):
        raise _wrong(where or "params.yaml", value, "a mapping of keys to values")
    fields = {f.name: f for f in dataclasses.fields(cast("Any", kind))}
    hints = get_type_hints(kind, include_extras=True)
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in fields:
            raise SettingsError(
                f"{prefix}{key}: unknown key; allowed here is any of {_listed(fields)}"
                f"{_nearest(str(key), fields)}"
            )
    for name, declared in fields.items():
        required = (
            declared.default is dataclasses.MISSING
            and declared.default_factory is dataclasses.MISSING
        )
        if required and name not in value:
            raise SettingsError(f"{prefix}{name}: is missing; add it to params.yaml")
    return kind(**{key: _value(hints[key], value[key], f"{prefix}{key}") for key in value})


def _value(hint: Any, value: object, where: str) -> Any:  # noqa: ANN401
    """Check a value against a type hint and return it in the form that the settings hold."""
    origin = get_origin(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, where)
    if origin is Annotated:
        base, allowed = get_args(hint)
        number = _number(base, value, where, f"a number, {allowed}")
        if not allowed.low <= number <= allowed.high:
            raise _wrong(where, value, str(allowed))
        return number
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        kinds = {get_origin(kind) is Mapping: kind for kind in reversed(get_args(hint))}
        return _value(kinds.get(isinstance(value, Mapping), get_args(hint)[0]), value, where)
    if origin is Literal:
        options = get_args(hint)
        if value not in options:
            near = _nearest(str(value), options)
            raise _wrong(where, value, f"any of {_listed(options)}", near)
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(where, value, "a list, such as [a, b]")
        return tuple(_value(get_args(hint)[0], item, where) for item in value)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise _wrong(where, value, "a mapping of keys to values")
        inner = get_args(hint)[1]
        if inner is Any:
            return types.MappingProxyType(dict(value))
        return types.MappingProxyType(
            {str(key): _value(inner, item, f"{where}.{key}") for key, item in value.items()}
        )
    if hint is bool:
        if not isinstance(value, bool):
            raise _wrong(where, value, "true or false")
        return value
    if not isinstance(value, str) or not value:
        raise _wrong(where, value, "a text that is not empty")
    return value


def _number(kind: type, value: object, where: str, allowed: str) -> float:
    """Return a number; YAML 1.1 reads `1e-3` as a text, which people mean as a number."""
    if kind is float and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise _wrong(where, value, allowed) from None
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise _wrong(where, value, f"a whole {allowed[2:]}" if kind is int else allowed)
    return kind(value)  # type: ignore[no-any-return]


def _wrong(where: str, found: object, allowed: str, hint: str = "") -> SettingsError:
    return SettingsError(f"{where}: found {found!r}; allowed is {allowed}{hint}")


def _nearest(word: str, known: Any) -> str:  # noqa: ANN401
    near = difflib.get_close_matches(word, [str(k) for k in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _listed(names: Any) -> str:  # noqa: ANN401
    return ", ".join(map(str, names))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(value: Any) -> Any:  # noqa: ANN401
    if dataclasses.is_dataclass(value):
        return as_tree(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
