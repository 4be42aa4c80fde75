"""`graft serve` stopped at random moments: nothing accepted is lost, nothing is left behind.

[RUN FOLDER]: as for serve_hostile. GRAFT_SERVE_STOPS (100) servers are started, asked by four
clients, and stopped within three seconds: three of four by SIGTERM, the others by SIGKILL, also
while they start. After a SIGTERM, every request that the log counts as accepted must have had its
answer, and every client's request an answer or a refused connection. Afterwards no process, no
temporary file and no shared memory may be left.
"""

import os
import random
import signal
import threading
import time
from pathlib import Path

from benchmarks.common import show, workplace
from benchmarks.serve_client import Connection, Served, request, run_and_folder

STOPS = int(os.environ.get("GRAFT_SERVE_STOPS", "100"))
CLIENTS = 4


class Asking(threading.Thread):
    """A client that asks until it is refused: counts answers and requests that were cut off."""

    def __init__(self, port: int, data: bytes) -> None:
        super().__init__()
        self.port, self.data = port, data
        self.answered = self.refused = self.cut = 0

    def run(self) -> None:
        """Ask, until the server is gone."""
        connection = Connection(self.port)
        while True:
            try:
                status, _ = connection.ask(self.data)
            except ConnectionRefusedError:
                return
            except OSError:
                # On a kept connection that was closed while it idled nothing was accepted: the
                # log's count decides whether a request was lost.
                self.cut += 1
                return
            self.answered += status == 200
            self.refused += status in (429, 503)
            if status == 503:
                time.sleep(0.05)


def left_behind(place: Path, before: set[Path]) -> list[str]:
    """Temporary files and shared memory that were not there before.

    Importing torchvision makes an empty folder, the same for all processes: PyTorch's cache.
    """
    shared = {*Path("/dev/shm").iterdir()} if Path("/dev/shm").is_dir() else set()
    found = [*place.iterdir(), *(shared - before)]
    return [
        str(file)
        for file in found
        if not (file.name.startswith("torchinductor_") and not any(file.iterdir()))
    ]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    rng = random.Random(0)
    with workplace() as place:
        cache, temporary = place / "cache", place / "temporary"
        temporary.mkdir()
        run, folder = run_and_folder(place, cache)
        from graft.data.sources import find_images

        data = request(next(iter(find_images(folder))).read_bytes())
        os.environ |= {name: str(temporary) for name in ("TMPDIR", "TMP", "TEMP")}
        shared = {*Path("/dev/shm").iterdir()} if Path("/dev/shm").is_dir() else set()
        graceful = killed = accepted = answered = cut = lost = bad = 0
        left: list[str] = []
        for number in range(STOPS):
            kill = number % 4 == 3
            served = Served(run, place, "--drain-seconds", "0.3", ready=number % 5 != 4)
            asking = [Asking(served.port, data) for _ in range(CLIENTS)]
            for one in asking:
                one.start()
            time.sleep(rng.uniform(0, 3 if number % 5 != 4 else 8))
            code, log = served.stop(signal.SIGKILL if kill else signal.SIGTERM)
            for one in asking:
                one.join()
            had = sum(one.answered for one in asking)
            if kill:
                killed += 1
            else:
                graceful += 1
                ended = log[-1]
                bad += code != 0 or ended["event"] != "stopped"
                accepted += ended.get("accepted", 0)
                answered += had
                lost += ended.get("accepted", 0) - had
                cut += sum(one.cut for one in asking)
            if alive(served.process.pid):
                left.append(f"process {served.process.pid}")
            left += left_behind(temporary, shared)
        show(
            "serve_stops",
            sigterm=graceful,
            sigkill=killed,
            accepted=accepted,
            answered=answered,
            lost=lost,
            cut_off_before_accepted=cut,
            ended_otherwise=bad,
            left_behind=left[:5],
        )


if __name__ == "__main__":
    main()
