"""Paths below one folder, and no others: what an assistant asks for is not to be trusted."""

from dataclasses import dataclass
from pathlib import Path

from graft.errors import UsageError


@dataclass(frozen=True)
class Rooted:
    """A folder that paths are confined to, links followed."""

    root: Path

    def inside(self, path: str) -> Path:
        """The path below the root, links resolved; UsageError for one that leads out of it."""
        if "\0" in path:
            raise UsageError("a path has no zero bytes in it")
        try:
            found = (self.root / path).resolve()
        except (OSError, RuntimeError) as error:  # a circle of links
            raise UsageError(f"{path!r} cannot be followed: {error}") from error
        if not found.is_relative_to(self.root.resolve()):
            raise UsageError(f"{path!r} is outside of the folder that this server may use")
        return found

    def there(self, path: str) -> Path:
        """As `inside`; UsageError for a path where nothing is."""
        found = self.inside(path)
        if not found.exists():
            raise UsageError(f"{path!r}: no such file or folder; paths are relative to the root")
        return found

    def free(self, path: str) -> Path:
        """As `inside`; UsageError for a path where something is already."""
        found = self.inside(path)
        if found.exists():
            raise UsageError(f"{path!r} is there already; choose another folder for the new run")
        return found

    def name(self, path: Path) -> str:
        """A path below the root as it is asked for."""
        resolved, root = path.resolve(), self.root.resolve()
        return str(resolved.relative_to(root)) if resolved.is_relative_to(root) else path.name
