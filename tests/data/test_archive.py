import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.data.archive import SUFFIXES, is_archive, unpack, written_beside
from graft.errors import DataError

TREE = {"train/cat/1.jpg": b"miau" * 500, "train/dog/1.jpg": os.urandom(3000), "classes.txt": b""}


def pack(archive: Path, tree: Mapping[str, bytes]) -> Path:
    """Write `tree`, from name to content, as an archive of the kind that the name says."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, content in tree.items():
                opened.writestr(name, content)
        return archive
    kind = {".tar": "w:", ".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}
    with tarfile.open(archive, kind[archive.suffix]) as tar:  # type: ignore[call-overload]
        for name, content in tree.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


def read(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if not file.is_dir())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


every_kind = pytest.mark.parametrize("suffix", SUFFIXES)


@every_kind
def test_an_archive_becomes_the_folder_that_was_packed(suffix: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / f"pets{suffix}", TREE)
    assert unpack(archive, tmp_path / "new" / "pets") == tmp_path / "new" / "pets"
    assert read(tmp_path / "new" / "pets") == TREE
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "pets"]


def test_the_folder_can_be_entered_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "usual").mkdir()
    folder = unpack(pack(tmp_path / "pets.zip", TREE), tmp_path / "pets")
    assert folder.stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("packer", ["tar", "zip"])
def test_what_the_usual_tools_pack_is_unpacked(packer: str, tmp_path: Path) -> None:
    with written_beside(tmp_path / "pets") as folder:
        for name, content in TREE.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    kind = {"tar": "gztar", "zip": "zip"}[packer]
    archive = shutil.make_archive(str(tmp_path / "made"), kind, tmp_path, "pets")
    assert read(unpack(Path(archive), tmp_path / "out") / "pets") == TREE


def test_a_folder_that_exists_is_returned_at_once(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    assert unpack(tmp_path / "not there.zip", tmp_path / "pets") == tmp_path / "pets"
    assert read(tmp_path / "pets") == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [(f"pets{suffix}", True) for suffix in SUFFIXES]
    + [("PETS.TAR.GZ", True), ("pets.gz", False), ("tar", False), ("pets.jpg", False)],
)
def test_an_archive_is_known_by_its_name(name: str, expected: bool, tmp_path: Path) -> None:
    assert is_archive(tmp_path / name) is expected


def test_a_folder_is_no_archive_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "pets.zip").mkdir()
    assert not is_archive(tmp_path / "pets.zip")


@every_kind
def test_hidden_files_and_what_macos_adds_are_left_out(suffix: str, tmp_path: Path) -> None:
    junk = (
        ".DS_Store",
        "train/.DS_Store",
        "__MACOSX/1.jpg",
        ".git/config",
        "train/._1.jpg",
    )
    archive = pack(tmp_path / f"pets{suffix}", TREE | dict.fromkeys(junk, b"junk"))
    assert read(unpack(archive, tmp_path / "pets")) == TREE


def test_names_that_begin_with_the_current_folder_are_not_hidden(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.tar", {f"./{name}": content for name, content in TREE.items()})
    assert read(unpack(archive, tmp_path / "pets")) == TREE


def test_the_separator_of_windows_is_a_separator_in_a_zip(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.zip", {"cat\\1.jpg": b"miau"})
    assert read(unpack(archive, tmp_path / "pets")) == {"cat/1.jpg": b"miau"}


@pytest.mark.parametrize("suffix", [".tar", ".tgz", ".zip"])
@pytest.mark.parametrize("name", ["../out.jpg", "cat/../../out.jpg", "..\\out.jpg", "/out.jpg"])
def test_an_archive_that_tries_to_get_out_is_refused(
    name: str, suffix: str, tmp_path: Path
) -> None:
    archive = pack(tmp_path / f"pets{suffix}", TREE | {name: b"out"})
    with pytest.raises(DataError, match="leads out of the archive"):
        unpack(archive, tmp_path / "pets")
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_a_link_or_a_device_in_a_tar_is_refused(kind: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "pets.tar"
    with tarfile.open(archive, "w") as tar:
        for name, each in (("1.jpg", tarfile.REGTYPE), ("2.jpg", kind)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = each, "1.jpg"
            tar.addfile(member)
    with pytest.raises(DataError, match=r"holds '2\.jpg', which is a link or a device"):
        unpack(archive, tmp_path / "pets")
    assert list(tmp_path.iterdir()) == [archive]


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "pets.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        member = zipfile.ZipInfo("2.jpg")
        member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        opened.writestr(member, "/etc/passwd")
    with pytest.raises(DataError, match=r"holds '2\.jpg', which is a link or a device"):
        unpack(archive, tmp_path / "pets")


def test_a_zip_locked_by_a_password_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.zip", {"1.jpg": b"miau"})
    packed = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        packed[packed.index(signature) + flags] |= 1
    archive.write_bytes(packed)
    with pytest.raises(DataError, match="needs a password"):
        unpack(archive, tmp_path / "pets")


def test_a_zip_packed_in_a_way_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.zip", {"1.jpg": b"miau"})
    packed = bytearray(archive.read_bytes())
    for signature, method in ((b"PK\1\2", 10), (b"PK\3\4", 8)):
        packed[packed.index(signature) + method] = 99
    archive.write_bytes(packed)
    with pytest.raises(DataError, match="uses a compression that graft cannot read"):
        unpack(archive, tmp_path / "pets")


@every_kind
def test_an_archive_larger_than_the_disk_is_refused_before_anything_is_written(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(tmp_path / f"pets{suffix}", TREE)
    needed = sum(map(len, TREE.values()))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(DataError, match="unpacks to 5,000 bytes, but only 4,999 are free"):
        unpack(archive, tmp_path / "pets")
    assert list(tmp_path.iterdir()) == [archive]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed))
    assert read(unpack(archive, tmp_path / "pets")) == TREE


def test_a_zip_that_declares_more_than_any_disk_holds_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "pets.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("1.jpg", b"miau")
        opened.infolist()[0].file_size = 1 << 60
    with pytest.raises(DataError, match="unpacks to more than 1,073,741,824 bytes"):
        unpack(archive, tmp_path / "pets")


@every_kind
def test_an_archive_that_unpacks_to_more_than_images_do_is_refused(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if suffix == ".tar":
        pytest.skip("a tar that is not packed is as long as what it holds")
    archive = pack(tmp_path / f"pets{suffix}", {"cat/1.jpg": bytes(3_000_000)})
    factor = 3_000_000 / archive.stat().st_size
    assert factor > 150
    monkeypatch.setattr("graft.data.unpacked_size.SMALL", 10_000)
    with pytest.raises(DataError, match=r"unpacks to more than [\d,]+ bytes, 100 times its"):
        unpack(archive, tmp_path / "pets")
    assert list(tmp_path.iterdir()) == [archive]
    monkeypatch.setattr("graft.data.unpacked_size.FACTOR", 2 * int(factor))
    assert read(unpack(archive, tmp_path / "pets")) == {"cat/1.jpg": bytes(3_000_000)}


def test_an_xz_that_asks_for_4_gb_of_memory_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.tar.xz", TREE)
    packed = bytearray(archive.read_bytes())
    # The block header, from byte 12 on: its size, flags, LZMA2, 1, the exponent of the window.
    end = 12 + (packed[12] + 1) * 4 - 4
    assert packed[14:16] == b"\x21\x01"
    packed[16] = 40
    packed[end : end + 4] = zlib.crc32(packed[12:end]).to_bytes(4, "little")
    archive.write_bytes(packed)
    with pytest.raises(DataError, match="Memory usage limit exceeded"):
        unpack(archive, tmp_path / "pets")


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_header_that_would_fill_the_memory_is_refused(suffix: str, tmp_path: Path) -> None:
    archive = tmp_path / f"pets{suffix}"
    with tarfile.open(archive, f"w:{suffix[5:]}", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("1.jpg")
        member.pax_headers = {"comment": "x" * 5_000_000}
        tar.addfile(member)
    with pytest.raises(DataError, match=r"a header of 5,\d+,\d+ bytes"):
        unpack(archive, tmp_path / "pets")


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(tmp_path / "pets.tar", TREE)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "1.jpg")

    monkeypatch.setattr(tarfile, "copyfileobj", full)
    with pytest.raises(DataError, match=r"pets could not be made: .* No space left .* free some"):
        unpack(archive, tmp_path / "pets")
    assert list(tmp_path.iterdir()) == [archive]


@every_kind
@pytest.mark.parametrize("tree", [{}, {".hidden": b"x"}])
def test_an_archive_without_files_is_refused(
    tree: dict[str, bytes], suffix: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="holds no files"):
        unpack(pack(tmp_path / f"pets{suffix}", tree), tmp_path / "pets")


@every_kind
@pytest.mark.parametrize("content", [b"", b"<html>Sign in to the network</html>" * 100])
def test_a_file_that_is_no_archive_is_named(content: bytes, suffix: str, tmp_path: Path) -> None:
    archive = tmp_path / f"pets{suffix}"
    archive.write_bytes(content)
    with pytest.raises(DataError) as caught:
        unpack(archive, tmp_path / "pets")
    assert str(caught.value).startswith(f"{archive} is damaged or incomplete (")
    assert "\n" not in str(caught.value)


def test_a_missing_archive_and_one_of_another_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected an archive at .*pets\.zip, but there is no"):
        unpack(tmp_path / "pets.zip", tmp_path / "pets")
    (tmp_path / "pets.rar").write_bytes(b"Rar!")
    with pytest.raises(DataError, match=r"ends in one of \.tar, .* got .*pets\.rar"):
        unpack(tmp_path / "pets.rar", tmp_path / "pets")


def test_a_file_in_the_place_of_the_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "pets").write_bytes(b"mine")
    with pytest.raises(DataError, match="pets could not be made"):
        unpack(pack(tmp_path / "pets.zip", TREE), tmp_path / "pets")
    assert (tmp_path / "pets").read_bytes() == b"mine"


@every_kind
def test_an_archive_cut_off_anywhere_is_refused(suffix: str, tmp_path: Path) -> None:
    whole = pack(tmp_path / f"whole{suffix}", TREE).read_bytes()
    # The end of a plain tar is filled up with zeros, which nobody misses.
    needed = len(whole.rstrip(b"\0")) if suffix == ".tar" else len(whole)
    cut = tmp_path / f"cut{suffix}"
    for length in (*range(0, needed, 97), needed // 512 * 512, needed - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(DataError, match="is damaged or incomplete"):
            unpack(cut, tmp_path / "cut")


def test_a_tar_whose_second_header_is_broken_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.tar", {"1.jpg": b"a", "2.jpg": b"b"})
    packed = bytearray(archive.read_bytes())
    packed[packed.index(b"2.jpg")] = ord("3")
    archive.write_bytes(packed)
    with pytest.raises(DataError, match="no end of archive at byte 1,024"):
        unpack(archive, tmp_path / "pets")


def test_a_zip_whose_directory_hides_a_file_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.zip", {"1.jpg": b"a", "2.jpg": b"b"})
    packed = bytearray(archive.read_bytes())
    first = packed.index(b"PK\1\2")
    packed[first + 32] = len(b"2.jpg") + 46  # the comment of the first swallows the second
    archive.write_bytes(packed)
    with pytest.raises(DataError, match="lists 1 of 2 files"):
        unpack(archive, tmp_path / "pets")


def test_a_zip_whose_first_file_lies_before_its_beginning_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.zip", TREE)
    packed = bytearray(archive.read_bytes())
    packed[packed.rindex(b"PK\5\6") + 17] += 1  # moves every member 256 bytes forward
    archive.write_bytes(packed)
    with pytest.raises(DataError, match="is damaged or incomplete"):
        unpack(archive, tmp_path / "pets")


def test_a_name_that_goes_on_after_its_end_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.zip", {"train/dog.jpg": b"a", "2.jpg": b"b"})
    archive.write_bytes(archive.read_bytes().replace(b"train/dog", b"train/\0og"))
    with pytest.raises(DataError, match="leads out of the archive"):
        unpack(archive, tmp_path / "pets")


@pytest.mark.parametrize("suffix", [".tgz", ".tar.xz", ".tar.bz2", ".zip"])
@settings(max_examples=30, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_an_error_or_does_no_harm(suffix: str, where: float, bit: int) -> None:
    with TemporaryDirectory() as folder:
        archive = pack(Path(folder, f"pets{suffix}"), TREE)
        packed = bytearray(archive.read_bytes())
        packed[int(where * len(packed))] ^= 1 << bit
        archive.write_bytes(packed)
        # A bit of a date does no harm, and no reader looks at every bit of a header.
        with suppress(DataError):
            unpack(archive, Path(folder, "pets"))
        assert read(Path(folder, "pets")) in ({}, TREE)


NAME = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=10)
PATH = st.builds("{}/{}.jpg".format, NAME, NAME)


@settings(max_examples=25, deadline=None)
@given(tree=st.dictionaries(PATH, st.binary(max_size=2000), min_size=1, max_size=5))
def test_any_names_and_contents_come_out_as_they_went_in(tree: dict[str, bytes]) -> None:
    for suffix in (".tar", ".tgz", ".zip"):
        with TemporaryDirectory() as folder:
            archive = pack(Path(folder, f"pets{suffix}"), tree)
            assert read(unpack(archive, Path(folder, "out"))) == tree


def test_the_slower_of_two_that_unpack_at_once_keeps_what_the_faster_made(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.tgz", TREE)
    with written_beside(tmp_path / "pets") as slower:
        (slower / "half").write_bytes(b"")
        unpack(archive, tmp_path / "pets")
    assert read(tmp_path / "pets") == TREE
    assert sorted(tmp_path.iterdir()) == [tmp_path / "pets", archive]


def test_two_processes_that_unpack_at_once_both_succeed(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.tgz", {f"cat/{n}.jpg": os.urandom(100) for n in range(300)})
    both_unpack = (
        "import sys; from pathlib import Path; from graft.data.archive import unpack\n"
        "print('ready', flush=True); input()\n"
        "print(len(list(unpack(Path(sys.argv[1]), Path(sys.argv[2])).glob('cat/*.jpg'))))"
    )
    command = [sys.executable, "-c", both_unpack, str(archive), str(tmp_path / "pets")]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as one,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as two,
    ):
        for each in (one, two):
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in (one, two):
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        assert [each.communicate()[0] for each in (one, two)] == ["300\n", "300\n"]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "pets", archive]


def test_a_kill_leaves_nothing_in_the_place_and_the_next_run_succeeds(tmp_path: Path) -> None:
    archive = pack(tmp_path / "pets.tgz", TREE)
    dies = (
        "import os, signal, sys; from pathlib import Path; from graft.data import archive\n"
        "archive.Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "archive.unpack(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", dies, str(archive), str(tmp_path / "pets")]
    assert subprocess.run(command, check=False).returncode == -9
    assert not (tmp_path / "pets").exists()
    assert read(unpack(archive, tmp_path / "pets")) == TREE


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted() -> None:
        with written_beside(tmp_path / "pets") as folder:
            (folder / "half").write_bytes(b"")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
