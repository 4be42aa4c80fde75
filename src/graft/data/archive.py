"""Unpack untrusted archives: completely or not at all, and only into the given folder."""

import bz2
import errno
import gzip
import hashlib
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO, cast

from graft.data.image_file import irregular
from graft.data.unpacked_size import (
    LONGEST_HEADER,
    BoundedStream,
    check_unpacked,
    unpacked_limit,
)
from graft.errors import DataError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")


XZ_MEMORY = 2**28
# What the standard library raises for damaged archives. gzip and bz2 add OSError without a number.
BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
)


def is_archive(path: Path) -> bool:
    """Whether the name of `path` says that `unpack` can read it, and it is not a folder."""
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def unpack(archive: Path, destination: Path) -> Path:
    """Unpack the regular files of `archive` into the folder `destination` and return it.

    A `destination` that exists is returned at once. Hidden files and those that macOS adds are
    left out. Everything is unpacked into a folder beside it, which is renamed at the end; several
    processes may do so at the same time.

    Raises:
        DataError: the archive is missing, of another kind, broken, empty, locked by a password,
            larger than the free disk space or than `unpacked_limit`, or holds a link, a device or a
            name that leads out of it; `destination` cannot be written.

    """
    if destination.is_dir():
        return destination
    if not archive.exists():
        raise DataError(f"expected an archive at {archive}, but there is no such file")
    if kind := irregular(archive.stat().st_mode):
        raise DataError(f"expected an archive at {archive}, but it is {kind}")
    if not is_archive(archive):
        raise DataError(
            f"expected an archive whose name ends in one of {', '.join(SUFFIXES)}, got {archive}; "
            "unpack it by hand and give the folder"
        )
    with written_beside(destination) as folder, _told(archive):
        if _is_zip(archive):
            _unpack_zip(archive, folder)
        else:
            _unpack_tar(archive, folder)
    return destination


def file_key(path: Path) -> str:
    """A name for what is unpacked from a regular file: 32 hex digits of its bytes' SHA-256.

    Raises DataError for anything else, and for an archive that does not begin, or a zip that does
    not end, as one: whatever its size, that is seen at once.
    """
    if kind := irregular(path.stat().st_mode):
        raise DataError(f"{path}: is {kind}, not a file")
    if is_archive(path):
        with _told(path):
            if _is_zip(path) and not zipfile.is_zipfile(path):
                raise zipfile.BadZipFile("File is not a zip file")
            if not _is_zip(path):
                with opened_tar(path) as tar:
                    if tar.next() is None:
                        raise DataError(f"{path} holds no files; expected images in class folders")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


@contextmanager
def _told(archive: Path) -> Iterator[None]:
    """What is wrong with an archive as one DataError."""
    try:
        yield
    except NotImplementedError as error:
        raise DataError(
            f"{archive} uses a compression that graft cannot read ({error}); "
            "unpack it by hand and give the folder"
        ) from error
    except (*BROKEN, OSError) as error:
        # Any other number is an error of the disk; this one is a position before byte 0.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise DataError(
            f"{archive} is damaged or incomplete ({why}); delete it and fetch it again"
        ) from error


def _is_zip(archive: Path) -> bool:
    return archive.name.lower().endswith(".zip")


@contextmanager
def written_beside(destination: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which becomes `destination` if the block succeeds.

    If another process made `destination` meanwhile, that one is kept and this one deleted.

    Raises:
        DataError: the disk is full, or the folder cannot be written.

    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as beside:
            # One level down, because only the owner may enter the temporary folder itself.
            folder = Path(beside, "whole")
            folder.mkdir()
            yield folder
            try:
                folder.rename(destination)
            except OSError:
                if not destination.is_dir():
                    raise
    except OSError as error:
        raise DataError(
            f"{destination} could not be made: {error}; free some space or choose another folder"
        ) from error


def _opened_xz(file: BinaryIO) -> lzma.LZMAFile:
    # The window that an archive asks for is taken as memory: 64 MB if packed by xz -9.
    lzma.LZMADecompressor(memlimit=XZ_MEMORY).decompress(file.read(1 << 16), 1)
    file.seek(0)
    return lzma.open(file)


_PACKED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", _opened_xz))


@contextmanager
def opened_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """A tar, packed or not, of which no more is read than may be unpacked from it; raises what the
    standard library raises, of BROKEN.
    """
    with archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        opener = next((opener for mark, opener in _PACKED if start.startswith(mark)), None)
        stream = BoundedStream(
            archive, cast(BinaryIO, opener(file)) if opener else file, opener is not None
        )
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            yield tar


def _unpack_tar(archive: Path, folder: Path) -> None:
    with opened_tar(archive) as tar:
        members = tar.getmembers()
        check_end(tar)
        kept = [member for member in members if _wanted(archive, member.name, member.isdir())]
        for member in kept:
            if not member.isreg():
                _refuse_special(archive, member.name)
        _check_room(archive, folder, [member.size for member in kept])
        tar.extractall(folder, kept, filter="data")


def check_end(tar: tarfile.TarFile) -> None:
    """Raise if the list of members stopped at anything but the end-of-archive block.

    tarfile takes a damaged header after the first one for the end, without an error.
    """
    stream = tar.fileobj
    if stream is None:
        raise tarfile.ReadError("the archive is closed")
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"no end of archive at byte {tar.offset:,}")
    # The checksum of a compressed stream is compared only by reading to its end.
    while isinstance(stream, BoundedStream) and stream.packed and stream.read(LONGEST_HEADER):
        pass


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        _check_count(archive, len(members))
        for member in members:
            # Some Windows tools write the separator that the format forbids. `filename` itself
            # ends at a NUL, which `orig_filename` shows to the check below.
            member.filename = member.orig_filename.replace("\\", "/")
        kept = [member for member in members if _wanted(archive, member.filename, member.is_dir())]
        for member in kept:
            kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == 3 else 0
            if kind not in (0, stat.S_IFREG):
                _refuse_special(archive, member.filename)
            if member.flag_bits & 1:
                raise DataError(
                    f"{archive} needs a password; unpack it by hand and give the folder"
                )
        _check_room(archive, folder, [member.file_size for member in kept])
        for member in kept:
            opened.extract(member, folder)


def _check_count(archive: Path, found: int) -> None:
    """Raise if a zip's directory lists another number of members than its end record says.

    zipfile silently leaves out the members that a wrong length in the directory hides.
    """
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - (1 << 16) - 22))
        tail = file.read()
    (promised,) = struct.unpack_from("<H", tail, tail.rfind(b"PK\5\6") + 10)
    # 65,535 also means that the number does not fit; old tools let it wrap around.
    if promised not in (found & 0xFFFF, 0xFFFF):
        raise zipfile.BadZipFile(f"lists {found:,} of {promised:,} files")


def _wanted(archive: Path, name: str, is_folder: bool) -> bool:
    """Whether to unpack a member. Raises DataError for a name that leads out of the archive."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or Path(name).drive or "\0" in name:
        raise DataError(
            f"{archive} holds {name!r}, which leads out of the archive; nothing was unpacked, "
            "do not trust this file"
        )
    hidden = any(name.startswith(".") or name == "__MACOSX" for name in path.parts)
    return not is_folder and not hidden


def _refuse_special(archive: Path, name: str) -> None:
    raise DataError(
        f"{archive} holds {name!r}, which is a link or a device and not a file; "
        "unpack it by hand and give the folder"
    )


def _check_room(archive: Path, folder: Path, sizes: list[int]) -> None:
    """Raise DataError if there is nothing to unpack, or more than fits on the disk."""
    if not sizes:
        raise DataError(f"{archive} holds no files; expected images in class folders")
    needed, free = sum(sizes), shutil.disk_usage(folder).free
    check_unpacked(archive, needed, unpacked_limit(archive))
    if needed > free:
        raise DataError(
            f"{archive} unpacks to {needed:,} bytes, but only {free:,} are free in "
            f"{folder.parent.parent}; free some space or choose another folder"
        )
