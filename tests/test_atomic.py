import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.bundle.atomic import check_replaceable, remove_quietly, replace_directory, write_file
from edgewise.errors import InputError


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mount.returncode:
        pytest.skip("a file system can be mounted only by root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """An output that an earlier run wrote."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "marker").write_text("earlier")
    return out


def write_then(out: Path, error: BaseException) -> None:
    with replace_directory(out, marker="marker") as staging:
        (staging / "marker").write_text("half")
        raise error


failures = pytest.mark.parametrize(
    ("error", "seen"),
    [
        (ValueError("bug"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left on device"), InputError),
    ],
)


def test_the_result_appears_when_the_block_ends(tmp_path: Path) -> None:
    with replace_directory(tmp_path / "out", marker="marker") as staging:
        (staging / "marker").write_text("new")
    assert (tmp_path / "out" / "marker").read_text() == "new"


def test_nothing_is_at_the_path_before_the_block_ends(tmp_path: Path) -> None:
    with replace_directory(tmp_path / "out", marker="marker"):
        assert not (tmp_path / "out").exists()


def test_an_earlier_result_is_replaced_whole(earlier: Path) -> None:
    (earlier / "stale").touch()
    with replace_directory(earlier, marker="marker") as staging:
        (staging / "marker").write_text("new")
    assert [path.name for path in earlier.iterdir()] == ["marker"]


def test_nothing_but_the_result_lies_beside_it(earlier: Path) -> None:
    with replace_directory(earlier, marker="marker"):
        pass
    assert list(earlier.parent.iterdir()) == [earlier]


@failures
def test_an_earlier_result_survives_a_failure(
    earlier: Path, error: BaseException, seen: type[BaseException]
) -> None:
    with pytest.raises(seen):
        write_then(earlier, error)
    assert (earlier / "marker").read_text() == "earlier"


@failures
def test_a_failure_leaves_nothing_behind(
    tmp_path: Path, error: BaseException, seen: type[BaseException]
) -> None:
    with pytest.raises(seen):
        write_then(tmp_path / "new" / "folders" / "out", error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_an_earlier_result_survives_a_failure_of_the_move_itself(
    earlier: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> Path:
        raise error

    monkeypatch.setattr(Path, "rename", fail)
    with (
        pytest.raises((KeyboardInterrupt, InputError)),
        replace_directory(earlier, marker="marker") as staging,
    ):
        (staging / "marker").write_text("new")
    assert [(path.name, path.read_text()) for path in earlier.parent.rglob("*") if path.is_file()] == [
        ("marker", "earlier")
    ]


def test_a_full_disk_is_an_input_error_that_says_so(tiny_disk: Path) -> None:
    with (
        pytest.raises(InputError, match="No space left on device"),
        replace_directory(tiny_disk / "out", marker="marker") as staging,
    ):
        (staging / "weights").write_bytes(bytes(2_000_000))


def test_a_full_disk_keeps_the_earlier_result_and_gives_the_space_back(tiny_disk: Path) -> None:
    with replace_directory(tiny_disk / "out", marker="marker") as staging:
        (staging / "marker").write_bytes(bytes(400_000))
    with pytest.raises(InputError), replace_directory(tiny_disk / "out", marker="marker") as staging:
        (staging / "weights").write_bytes(bytes(2_000_000))
    (tiny_disk / "space").write_bytes(bytes(500_000))
    assert (tiny_disk / "out" / "marker").stat().st_size == 400_000


def test_a_file_on_a_full_disk_keeps_its_earlier_content(tiny_disk: Path) -> None:
    (tiny_disk / "report").write_bytes(b"earlier")
    with pytest.raises(InputError, match="No space left"):
        write_file(tiny_disk / "report", bytes(2_000_000))
    assert [(path.name, path.read_bytes()) for path in tiny_disk.iterdir()] == [("report", b"earlier")]


def test_a_mounted_volume_is_refused_before_the_work_not_after(tiny_disk: Path) -> None:
    with pytest.raises(InputError, match="choose a new folder inside it"):
        check_replaceable(tiny_disk, marker="marker")


def test_the_folder_one_stands_in_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="choose a new folder inside it"):
        check_replaceable(Path(), marker="marker")


def test_someone_elses_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    with pytest.raises(InputError, match="not empty and not an edgewise output"):
        write_then(tmp_path / "photos", AssertionError("the block must not run"))


def test_an_empty_folder_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with replace_directory(tmp_path / "out", marker="marker") as staging:
        (staging / "marker").touch()
    assert (tmp_path / "out" / "marker").exists()


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("notes")
    with pytest.raises(InputError, match="is a file"):
        check_replaceable(tmp_path / "out", marker="marker")


def test_a_path_under_a_file_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(InputError, match="not writable"):
        check_replaceable(tmp_path / "notes" / "out", marker="marker")


def test_the_result_lands_where_a_symlink_points(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "data")
    with replace_directory(tmp_path / "out", marker="marker") as staging:
        (staging / "marker").touch()
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "data" / "marker").exists()


def test_a_symlink_to_nothing_yet_is_followed_too(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "later" / "data")
    with replace_directory(tmp_path / "out", marker="marker") as staging:
        (staging / "marker").touch()
    assert (tmp_path / "later" / "data" / "marker").exists()


def test_an_error_about_another_file_names_that_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.onnx"), replace_directory(tmp_path / "out", marker="m"):
        (tmp_path / "missing.onnx").read_bytes()


def test_a_file_is_written(tmp_path: Path) -> None:
    write_file(tmp_path / "report.md", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("report.md", b"new")]


def test_a_file_in_a_folder_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*nowhere.report\.md: No such file or directory"):
        write_file(tmp_path / "nowhere" / "report.md", b"new")


def test_removing_what_is_not_there_is_quiet(tmp_path: Path) -> None:
    remove_quietly(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_removing_quietly_takes_folders_and_files(earlier: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remove_quietly(earlier)
    remove_quietly(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="files have no such modes there")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_gets_the_mode_that_the_umask_gives(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_file(tmp_path / "report.html", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) == mode


@pytest.mark.skipif(os.name == "nt", reason="files have no such modes there")
def test_a_private_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_file(tmp_path / "key.pem", b"", private=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
