"""Limits: how much a server takes on, of one client and of all together."""

from dataclasses import dataclass

from graft.data.image_file import MAX_PIXELS
from graft.errors import UsageError

MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one request: `upload_megabytes` of its body, `images` in it, `megapixels` of each image.

    Of all that wait for an answer together: `queue_images`, `queue_megapixels` (before decoding)
    and `queue_megabytes` (of bodies, also half sent). What is beyond is refused with 429.

    Seconds: `deadline` from the whole body to the answer, `header_seconds` and `body_seconds` to
    send a request, `drain_seconds` in which a stopping server still answers new requests with 503
    (so that load balancers notice), `stop_seconds` until it gives up on the requests it accepted.
    `connections` may be open at once.

    Raises UsageError for limits that contradict each other.
    """

    upload_megabytes: float = 32.0
    images: int = 64
    megapixels: float = 50.0
    queue_images: int = 128
    queue_megapixels: float = 400.0
    queue_megabytes: float = 256.0
    deadline: float = 30.0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    drain_seconds: float = 0.5
    stop_seconds: float = 30.0
    connections: int = 512

    def __post_init__(self) -> None:
        if self.megapixels * MEGA > MAX_PIXELS:
            raise UsageError(
                f"--max-megapixels is at most {MAX_PIXELS // MEGA}, as for graft predict; got "
                f"{self.megapixels:g}"
            )
        for one, all_, name in (
            (self.images, self.queue_images, "images"),
            (self.megapixels, self.queue_megapixels, "megapixels"),
            (self.upload_megabytes, self.queue_megabytes, "megabytes"),
        ):
            if one > all_:
                raise UsageError(
                    f"one request may bring {one:g} {name}, but the queue only holds {all_:g}; "
                    f"raise --queue-{name}, or lower the limit of a request"
                )
