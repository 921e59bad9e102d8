import os
import shutil
from collections.abc import Callable
from pathlib import Path

from qvpipe.config import ComputeSettings
from qvpipe.video.measure import content_hash, measure, measure_all

Render = Callable[..., Path]
ONE = ComputeSettings(workers=1)


def test_content_depends_on_the_bytes_alone(render_clip: Render, tmp_path: Path) -> None:
    path = render_clip(tmp_path / "a.mp4", frames=3)
    copy = Path(shutil.copy(path, tmp_path / "b.mp4"))
    assert content_hash(path) == content_hash(copy)
    data = bytearray(copy.read_bytes())
    data[-1] ^= 1
    copy.write_bytes(data)
    assert content_hash(path) != content_hash(copy)


def test_what_is_wrong_stands_in_the_result(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert measure(tmp_path / "a.mp4").error == "a.mp4 is empty (0 bytes)"
    assert measure(tmp_path / "absent.mp4").error == (
        "absent.mp4 cannot be read: No such file or directory"
    )


def test_results_keep_the_order_of_the_files_whether_cached_or_not(
    render_clip: Render, tmp_path: Path
) -> None:
    paths = [render_clip(tmp_path / f"{n}.mp4", frames=n) for n in (3, 4, 5)]
    cache = tmp_path / "cache.jsonl"
    measure_all(paths[1:2], ONE, 60, cache)
    for _ in range(2):
        found = measure_all(paths, ONE, 60, cache)
        assert [result.probe.frames for result in found if result.probe] == [3, 4, 5]


def test_a_changed_file_of_the_same_size_is_measured_again(
    render_clip: Render, tmp_path: Path
) -> None:
    path, cache = render_clip(tmp_path / "a.mp4", frames=3), tmp_path / "cache.jsonl"
    (before,) = measure_all([path], ONE, 60, cache)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 10**9))
    (after,) = measure_all([path], ONE, 60, cache)
    assert after.content != before.content


def test_what_is_gone_or_broken_in_the_cache_leaves_it(render_clip: Render, tmp_path: Path) -> None:
    paths = [render_clip(tmp_path / f"{n}.mp4", frames=n) for n in (3, 4)]
    cache = tmp_path / "cache.jsonl"
    before = measure_all(paths, ONE, 60, cache)
    kept = cache.read_text().splitlines(keepends=True)
    cache.write_text('{"a": 1}\n["b"]\n' + "".join(kept) + kept[0][:40])
    assert measure_all(paths[1:], ONE, 60, cache) == before[1:]
    assert cache.read_text() == kept[1]
