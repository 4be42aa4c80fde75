"""A shard: the part of a source that one of many workers takes, known from the source alone."""

import hashlib
import re
from dataclasses import dataclass

from graft.errors import UsageError

MOST_SHARDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `number` of `count`, counted from 1, as people write it: 3/100."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= MOST_SHARDS:
            raise UsageError(
                f"--shard: expected I/N with I from 1 to N, and N at most {MOST_SHARDS:,}; "
                f"got {self}"
            )

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that "3/100" names; UsageError for anything else."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        if not found:
            raise UsageError(f"--shard: expected I/N, such as 3/100, got {text!r}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """What its file is called: 00003-of-00100. Names sort as numbers do."""
        return f"{self.number:05d}-of-{self.count:05d}"

    def takes(self, path: str) -> bool:
        """Whether an image, or a file of many, is of this shard, by the sha256 of its path in the
        source. Each path is of exactly one of the `count` shards, whatever other paths there are.
        """
        digest = hashlib.sha256(path.encode(errors="surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1
