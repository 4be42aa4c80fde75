"""The engine: decodes on a few threads and predicts on a few, in batches of whatever waits.

An image that comes alone is computed at once. While something is computed the next batch gathers,
so that batches grow with the load; only a whole one begins beside another.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from PIL import Image

from graft.data.decode import (
    Pixels,
    UnusableImageError,
    center_view,
    decode,
    resized_shorter_side,
    upright_rgb,
)
from graft.data.reader import cores
from graft.features.backends import BATCH
from graft.inference.prediction import Prediction
from graft.inference.predictor import FEW
from graft.inference.views import predict_views
from graft.serve.served_runs import ServedRun
from graft.serve.uploads import Upload

LOG = logging.getLogger("graft.serve")
# Images of so many megapixels together are decoded at once: a large one takes several times its
# pixels' bytes, for a moment.
DECODED_AT_ONCE = 64.0
# Batches under way at once: a compiled network gives each batch a share of the cores.
MOST_LANES = 8
JPEG = b"\xff\xd8"
FAILED = "could not be computed by the model; the server's log has the reason"


@dataclass(eq=False)
class Ticket:
    """An accepted request: its images, and the future that gets an outcome for each.

    `dropped` is set when nobody waits for it any more: what is left of it is skipped.
    """

    run: ServedRun
    images: Sequence[Upload]
    answered: asyncio.Future[list["Outcome"]]
    megapixels: float
    outcomes: list["Outcome"] = field(default_factory=list)
    left: int = 0
    dropped: bool = False
    began: float = field(default_factory=time.perf_counter)
    computed: float | None = None  # when its first batch began

    def __post_init__(self) -> None:
        self.outcomes = [None] * len(self.images)
        self.left = len(self.images)

    def drop(self) -> None:
        """Nobody waits any more: free what it holds."""
        self.dropped = True
        for image in self.images:
            image.data = b""


Outcome = Prediction | UnusableImageError | None


@dataclass(eq=False, slots=True)
class _View:
    """A decoded image at the network's input size, waiting for its batch."""

    ticket: Ticket
    index: int
    pixels: Pixels


class _Weighed:
    """Lets threads through while what they carry weighs no more than `most` together; one is
    always let through.
    """

    def __init__(self, most: float) -> None:
        self.most, self.carried = most, 0.0
        self.changed = threading.Condition()

    def enter(self, weight: float) -> None:
        with self.changed:
            self.changed.wait_for(lambda: not self.carried or self.carried + weight <= self.most)
            self.carried += weight

    def leave(self, weight: float) -> None:
        with self.changed:
            self.carried -= weight
            self.changed.notify_all()


class Engine:
    """Computes tickets; `submit` and what it calls back are on the event loop.

    `finished(ticket)` is called once for each ticket, when nothing of it is in the engine any
    more. `observed(size, seconds)` for each batch, on the thread that computed it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        finished: Callable[[Ticket], None],
        observed: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self.loop, self.finished, self.observed = loop, finished, observed
        self.headers = ThreadPoolExecutor(1, thread_name_prefix="graft-headers")
        self.decoders = ThreadPoolExecutor(cores(), thread_name_prefix="graft-decode")
        self.room = _Weighed(DECODED_AT_ONCE)
        self.views: deque[_View] = deque()
        self.changed = threading.Condition()
        self.ended, self.busy = False, 0
        for number in range(max(2, min(cores() // 2, MOST_LANES))):
            name = f"graft-engine-{number}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, ticket: Ticket) -> None:
        """Take a ticket whose images have been measured."""
        for index, image in enumerate(ticket.images):
            if image.problem is not None:
                self._settle(ticket, index, image.problem)
            else:
                self.decoders.submit(self._decode, ticket, index)

    def close(self) -> None:
        """End the threads; what is still in the engine is not computed."""
        self.headers.shutdown(wait=False, cancel_futures=True)
        self.decoders.shutdown(wait=False, cancel_futures=True)
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _decode(self, ticket: Ticket, index: int) -> None:
        image = ticket.images[index]
        if ticket.dropped:
            self._settle(ticket, index, None)
            return
        try:
            pixels = self._decoded(image, ticket.run)
        except UnusableImageError as problem:
            self._settle(ticket, index, problem)
        except Exception:  # such as MemoryError: this image only
            LOG.exception("an image could not be decoded")
            self._settle(ticket, index, UnusableImageError("unreadable", FAILED))
        else:
            with self.changed:
                self.views.append(_View(ticket, index, pixels))
                self.changed.notify()

    def _work(self) -> None:
        while batch := self._next_batch():
            wanted = [view for view in batch if not view.ticket.dropped]
            for view in batch:
                if view.ticket.dropped:
                    self._settle(view.ticket, view.index, None)
            if wanted:
                began = time.perf_counter()
                for view in wanted:
                    view.ticket.computed = view.ticket.computed or began
                for view, outcome in zip(wanted, self._computed(wanted), strict=True):
                    self._settle(view.ticket, view.index, outcome)
                self.observed(len(wanted), time.perf_counter() - began)
            with self.changed:
                self.busy -= 1
                self.changed.notify_all()

    def _worth(self) -> bool:
        """Whether a thread should begin with what waits."""
        return bool(self.views) and (
            not self.busy or len(self.views) >= self.views[0].ticket.run.whole_batch
        )

    def _next_batch(self) -> list[_View]:
        """What waits for the run of the oldest image, at most BATCH; empty at the end."""
        with self.changed:
            self.changed.wait_for(lambda: self.ended or self._worth())
            if self.ended:
                return []
            self.busy += 1
            run = self.views[0].ticket.run
            batch: list[_View] = []
            others: deque[_View] = deque()
            while self.views and len(batch) < BATCH:
                view = self.views.popleft()
                (batch if view.ticket.run is run else others).append(view)
            self.views.extendleft(reversed(others))
        size = len(batch)
        if FEW < size < run.whole_batch:
            # So few are faster one by one than padded to a whole batch.
            with self.changed:
                self.views.extendleft(reversed(batch[FEW:]))
            batch = batch[:FEW]
        return batch

    def _settle(self, ticket: Ticket, index: int, outcome: Outcome) -> None:
        """Note one image's outcome, on any thread; the last one answers the ticket."""
        with self.changed:
            ticket.outcomes[index] = outcome
            ticket.left -= 1
            done = ticket.left == 0
        if done:
            self.loop.call_soon_threadsafe(self._answer, ticket)

    def _answer(self, ticket: Ticket) -> None:
        if not ticket.answered.done():
            ticket.answered.set_result(ticket.outcomes)
        self.finished(ticket)

    def _decoded(self, image: Upload, run: ServedRun, whole: bool = False) -> Pixels:
        """The very pixels that `graft predict` makes of such a file."""
        preprocess = run.predictor.backbone.preprocess
        self.room.enter(image.megapixels)
        try:
            if isinstance(image.data, Image.Image):
                return center_view(upright_rgb(image.data), preprocess)
            side = None if whole else resized_shorter_side(preprocess)
            return center_view(decode(image.data, side), preprocess)
        finally:
            self.room.leave(image.megapixels)

    def _computed(self, views: Sequence[_View]) -> list[Outcome]:
        """The prediction of each; where the batch fails, of each that does not fail alone."""
        run = views[0].ticket.run

        def whole(row: int) -> Pixels:
            view = views[row]
            image = view.ticket.images[view.index]
            data = image.data
            # Only JPEGs are decoded at less than their full size.
            if isinstance(data, bytes) and data.startswith(JPEG) and not view.ticket.dropped:
                return self._decoded(image, run, whole=True)
            return view.pixels

        names = [view.ticket.images[view.index].name for view in views]
        try:
            pixels = [view.pixels for view in views]
            return list(predict_views(run.predictor, pixels, whole, run.policy, names))
        except Exception:
            if len(views) == 1:
                LOG.exception("an image could not be computed")
                return [UnusableImageError("failed", FAILED)]
            return [outcome for view in views for outcome in self._computed([view])]
