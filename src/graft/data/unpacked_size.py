"""How much may be unpacked from a file, however small it is."""

import io
import tarfile
from pathlib import Path
from typing import BinaryIO

from graft.errors import DataError

# What is unpacked may be this many times as large as the file, and up to SMALL in any case: images
# hardly shrink when they are packed (docs/security.md).
FACTOR, SMALL = 100, 2**30
# Nothing of a tar but its files is this long; it would be taken into memory.
LONGEST_HEADER = 2**20


def unpacked_limit(packed: Path) -> int:
    """The bytes that may be unpacked from a file: FACTOR times its own, and SMALL in any case."""
    return max(SMALL, FACTOR * packed.stat().st_size)


def check_unpacked(packed: Path, size: int, limit: int) -> None:
    """Raise DataError if so many bytes are more than may be unpacked from a file."""
    if size > limit:
        raise DataError(
            f"{packed} unpacks to more than {limit:,} bytes, {limit / packed.stat().st_size:,.0f} "
            "times its own size; images do not shrink like that; unpack it by hand if you trust it"
        )


class BoundedStream(io.RawIOBase):
    """A tar, unpacked as it is read if it is packed: no further than the limit, and nothing long at
    one time.

    Raises DataError at the limit, tarfile.ReadError for a header that is too long.
    """

    def __init__(self, archive: Path, stream: BinaryIO, packed: bool):
        self.archive, self.stream, self.packed = archive, stream, packed
        self.limit = unpacked_limit(archive)

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, which may not be more than LONGEST_HEADER."""
        if not 0 <= size <= LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        check_unpacked(self.archive, self.stream.tell(), self.limit)
        return self.stream.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place, which is checked before what lies before it is unpacked."""
        check_unpacked(self.archive, place, self.limit)
        return self.stream.seek(place, whence)

    def tell(self) -> int:
        """The place in the unpacked tar."""
        return self.stream.tell()

    def seekable(self) -> bool:
        """Yes: what was unpacked before is unpacked again."""
        return True

    def readable(self) -> bool:
        """Yes."""
        return True
