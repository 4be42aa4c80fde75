"""The service behind the routes: accepts requests, has them computed, and stops in order."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from graft.errors import GraftError
from graft.serve.admission import Admission
from graft.serve.engine import Engine, Outcome, Ticket
from graft.serve.limits import Limits
from graft.serve.monitoring import Monitoring
from graft.serve.problems import ClientGoneError, ProblemError, busy
from graft.serve.request_body import Receive, counted_body
from graft.serve.request_log import event
from graft.serve.served_runs import ServedRun, ServedRuns
from graft.serve.uploads import Uploads

T = TypeVar("T")
Parse = Callable[[bytes], tuple[Uploads, T]]


class Service:
    """What one server process serves. All of it is used on the event loop that `start` is given.

    `key` is the API key, or None. `failure` is why it had to stop, if it had to.
    """

    def __init__(self, runs: ServedRuns, limits: Limits, key: str | None = None) -> None:
        self.runs, self.limits, self.key = runs, limits, key
        self.admission = Admission(limits)
        self.monitoring = Monitoring(self.admission)
        self.draining = False
        self.failure: GraftError | None = None
        self.reloading = asyncio.Lock()
        self.loader = ThreadPoolExecutor(1, thread_name_prefix="graft-load")
        self.engine: Engine | None = None

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self.runs.ready and not self.draining

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to compute."""
        self.engine = Engine(loop, self._finished, self.monitoring.batch)

    async def warm_up(self, runs: list[ServedRun]) -> None:
        """Make the runs answer, off the event loop; GraftError for one that cannot."""
        await self._in_loader(lambda: self.runs.warm(runs))
        for run in self.runs.runs.values():
            self.monitoring.serves(run)
            event("serving", model=run.name, version=run.version, whole_batch=run.whole_batch)

    def close(self) -> None:
        """End all threads, as soon as each has done what it is at."""
        if self.engine:
            self.engine.close()
        self.loader.shutdown(wait=False, cancel_futures=True)

    def run(self, name: str) -> ServedRun:
        """The run of that name; ProblemError 404, or 503 while it is warming up."""
        found = self.runs.runs.get(name)
        if found is None and name in self.runs.paths:
            raise ProblemError(
                503, f"{name} is still warming up; /readyz says when", "not_ready", SOON
            )
        if found is None:
            raise ProblemError(
                404, "there is no such model; GET /v1/models lists them", "unknown_model"
            )
        return found

    async def outcomes(
        self, run: ServedRun, receive: Receive, headers: Mapping[str, str], parse: Parse[T]
    ) -> tuple[Uploads, list[Outcome], T, int]:
        """Read a request and have its images computed; also what else `parse` found in it, and
        the size of its body.

        Raises ProblemError and ClientGoneError.
        """
        if self.admission.full:
            raise busy("nothing more is accepted")
        loop, engine = asyncio.get_running_loop(), self.engine
        if engine is None:
            raise ProblemError(503, "the server is starting", "not_ready", SOON)
        with counted_body(self.admission) as body:
            data = await body.read(receive, headers)
            found, more = await loop.run_in_executor(engine.headers, parse, data)
            del data
            if not found.several and found.images[0].problem:
                return found, [found.images[0].problem], more, body.size
            ticket = Ticket(run, found.images, loop.create_future(), found.megapixels)
            self.admission.admit(len(ticket.images), ticket.megapixels)
            engine.submit(ticket)
            return found, await self._answer(ticket, receive), more, body.size

    async def reload(self, name: str) -> tuple[ServedRun, bool]:
        """The run as its folder is now, and whether that changed; what was accepted is answered by
        the old one. ProblemError 409 while another is loading or where it cannot be loaded.
        """
        if self.reloading.locked():
            raise ProblemError(409, "another model is being loaded; try again later", "reloading")
        async with self.reloading:
            old = self.run(name)
            try:
                new, changed = await self._in_loader(lambda: self.runs.reload(name))
            except GraftError as error:
                event("not reloaded", logging.ERROR, model=name, problem=str(error))
                raise ProblemError(
                    409, f"not reloaded, the old one goes on: {error}", "not_reloaded"
                ) from error
            if changed:
                self.monitoring.serves(new, old)
            event("reloaded", model=name, version=new.version, changed=changed)
            return new, changed

    async def reload_all(self) -> None:
        """Each run whose folder has changed; what cannot be loaded is logged and stays as it is."""
        for name in list(self.runs.runs):
            try:
                await self.reload(name)
            except ProblemError as problem:
                event("not reloaded", logging.ERROR, model=name, problem=problem.message)

    async def _answer(self, ticket: Ticket, receive: Receive) -> list[Outcome]:
        gone = asyncio.ensure_future(receive())  # all of the body is read: it can only be the end
        try:
            await asyncio.wait(
                {ticket.answered, gone},
                timeout=self.limits.deadline,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if ticket.answered.done():
                return ticket.answered.result()
            if gone.done():
                raise ClientGoneError
            raise ProblemError(
                504, f"not computed within {self.limits.deadline:g} seconds", "deadline"
            )
        finally:
            gone.cancel()
            if not ticket.answered.done():
                ticket.drop()

    def _finished(self, ticket: Ticket) -> None:
        self.admission.release(len(ticket.images), ticket.megapixels)

    async def _in_loader(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.loader, work)


SOON = {"retry-after": "1"}
