"""Admission: what waits in the server, in images, megapixels and bytes, and what is too much."""

from graft.serve.limits import MEGA, Limits
from graft.serve.problems import ProblemError, busy


class Admission:
    """Counts what waits; used on the event loop only, so it needs no lock.

    `images` and `megapixels` wait for their predictions, `held_bytes` are bodies in memory.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.images, self.megapixels, self.held_bytes = 0, 0.0, 0
        self.accepted = self.finished = 0  # requests, since the start

    @property
    def full(self) -> bool:
        """Whether not even one small image more would be accepted: asked before a body is read."""
        return (
            self.images >= self.limits.queue_images
            or self.megapixels >= self.limits.queue_megapixels
            or self.held_bytes >= self.limits.queue_megabytes * MEGA
        )

    def hold(self, size: int) -> None:
        """Count `size` bytes more in memory; ProblemError 429 where they would be too many."""
        if self.held_bytes + size > self.limits.queue_megabytes * MEGA:
            raise busy(f"{self.limits.queue_megabytes:g} MB of uploads")
        self.held_bytes += size

    def release_bytes(self, size: int) -> None:
        """The inverse of `hold`."""
        self.held_bytes -= size

    def admit(self, images: int, megapixels: float) -> None:
        """Accept a request of so many images, which have so many megapixels together.

        Raises ProblemError: 413 where it could never be accepted, 429 where it cannot now.
        """
        limits = self.limits
        if megapixels > limits.queue_megapixels:
            raise ProblemError(
                413,
                f"the images have {megapixels:,.0f} megapixels together, at most "
                f"{limits.queue_megapixels:,.0f} are accepted; send fewer at once",
                "too_large",
            )
        if self.images + images > limits.queue_images:
            raise busy(f"{limits.queue_images:,} images")
        if self.megapixels + megapixels > limits.queue_megapixels:
            raise busy(f"{limits.queue_megapixels:,.0f} megapixels")
        self.images += images
        self.megapixels += megapixels
        self.accepted += 1

    def release(self, images: int, megapixels: float) -> None:
        """The inverse of `admit`."""
        self.images -= images
        self.megapixels = self.megapixels - megapixels if self.images else 0.0
        self.finished += 1
