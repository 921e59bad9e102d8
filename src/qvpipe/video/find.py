"""Videos in folders."""

from pathlib import Path

from qvpipe.errors import QvpipeError
from qvpipe.video.reader import ENDINGS


def find_videos(path: Path) -> list[Path]:
    """Return the video files in a folder and the folders below it, by name; a file is itself.

    Raises:
        QvpipeError: If there is no such path or the folder holds no video.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise QvpipeError(f"there is no file or folder {path}; check the path")
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    if not found:
        raise QvpipeError(f"{path} holds no video; name a folder that does")
    return found
