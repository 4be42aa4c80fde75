"""`graft serve` under load: throughput against `graft predict`, and at ten times what it bears.

[RUN FOLDER]: a trained run and images; without them a run of the default network is trained on
flowers. 1. The images a second of `graft predict`'s loop, and of the server for the same files in
forms of 32 and one a request, alternating. 2. Full load: as many connections as the queue holds,
each sending its next image when it has its answer. 3. Overload: ten times the requests a second
that were answered at full load, whatever comes back, for SECONDS (GRAFT_SERVE_SECONDS, 15).
"""

import json
import os
import selectors
import socket
import sys
import threading
import time
from pathlib import Path

from benchmarks.common import median, module, show, timed, workplace
from benchmarks.serve_client import Connection, Served, form, percentile, request, run_and_folder

SECONDS = float(os.environ.get("GRAFT_SERVE_SECONDS", "15"))
ROUNDS, BATCH, QUEUE, TIMES = 3, 32, 32, 10
MOST = 512  # images, sent again and again
SOCKETS = 400  # open at once in overload: beyond, a request is not sent and counted as such


def closed_loop(port: int, sent: list[bytes], clients: int, seconds: float) -> list:
    """(status, seconds, ended) of each answer: every client sends when it has its answer."""
    found: list[tuple[int, float, float]] = []
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        connection, place = Connection(port), number
        while time.perf_counter() < end:
            began = time.perf_counter()
            status, _ = connection.ask(sent[place % len(sent)])
            found.append((status, time.perf_counter() - began, time.perf_counter()))
            place += clients
        connection.close()

    threads = [threading.Thread(target=client, args=[i]) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def all_once(port: int, sent: list[bytes], clients: int) -> float:
    """Seconds until each request was answered, with 200."""
    rest, lock = iter(sent), threading.Lock()
    wrong: list[int] = []

    def client() -> None:
        connection = Connection(port)
        while True:
            with lock:
                one = next(rest, None)
            if one is None:
                break
            status, _ = connection.ask(one)
            if status != 200:
                wrong.append(status)
        connection.close()

    began = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        sys.exit(f"{len(wrong)} of {len(sent)} requests were not answered with 200: {wrong[:5]}")
    return time.perf_counter() - began


class OpenLoop:
    """So many requests a second, whatever comes back; one thread, connections kept alive."""

    def __init__(self, port: int, sent: list[bytes], rate: float, seconds: float) -> None:
        self.port, self.sent, self.rate, self.seconds = port, sent, rate, seconds
        self.chosen = selectors.DefaultSelector()
        self.idle: list[socket.socket] = []
        self.busy: dict[socket.socket, tuple[float, bytes]] = {}
        self.found: list[tuple[int, float, float]] = []
        self.cut = self.unsent = 0

    def run(self) -> list[tuple[int, float, float]]:
        """(status, seconds, ended) of each answer."""
        began, number = time.perf_counter(), 0
        while (now := time.perf_counter()) < began + self.seconds:
            while number < (now - began) * self.rate:
                self._send(self.sent[number % len(self.sent)])
                number += 1
            self._read(0.002)
        end = time.perf_counter() + 60
        while self.busy and time.perf_counter() < end:
            self._read(0.1)
        self.cut += len(self.busy)
        for connection in [*self.idle, *self.busy]:
            connection.close()
        return self.found

    def _send(self, data: bytes) -> None:
        if self.idle:
            connection = self.idle.pop()
        elif len(self.busy) < SOCKETS:
            connection = socket.create_connection(("127.0.0.1", self.port))
            self.chosen.register(connection, selectors.EVENT_READ)
        else:
            self.unsent += 1
            return
        self.busy[connection] = (time.perf_counter(), b"")
        try:
            connection.sendall(data)
        except OSError:
            self._end(connection, cut=True)

    def _read(self, wait: float) -> None:
        for key, _ in self.chosen.select(wait):
            connection = key.fileobj
            try:
                more = connection.recv(65536)  # type: ignore[union-attr]
            except OSError:
                more = b""
            if connection not in self.busy:
                self.idle.remove(connection)  # type: ignore[arg-type]
                self._forget(connection)  # type: ignore[arg-type]
            elif not more:
                self._end(connection, cut=True)  # type: ignore[arg-type]
            else:
                self._came(connection, more)  # type: ignore[arg-type]

    def _came(self, connection: socket.socket, more: bytes) -> None:
        sent, came = self.busy[connection]
        came += more
        self.busy[connection] = (sent, came)
        head, gap, body = came.partition(b"\r\n\r\n")
        if not gap:
            return
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(body) >= size:
            now = time.perf_counter()
            self.found.append((int(came[9:12]), now - sent, now))
            self._end(connection, cut=False, closing=b"connection: close" in head.lower())

    def _end(self, connection: socket.socket, cut: bool, closing: bool = False) -> None:
        self.busy.pop(connection)
        self.cut += cut
        if cut or closing:
            self._forget(connection)
        else:
            self.idle.append(connection)

    def _forget(self, connection: socket.socket) -> None:
        self.chosen.unregister(connection)
        connection.close()


def rate(run: str, folder: str) -> None:
    """Print the images a second of `graft predict`'s loop in this process."""
    from graft.data.sources import find_images
    from graft.features.torch_threads import cores_for_encoder
    from graft.inference.saved_model import load

    predictor = load(run)
    for backend in (predictor.backend, predictor.exact):
        backend()
    start, begun = time.perf_counter(), time.process_time()
    with cores_for_encoder():
        count = sum(1 for _ in predictor.predict_files(find_images(Path(folder))))
    seconds, cpu = time.perf_counter() - start, time.process_time() - begun
    print(json.dumps({"rate": count / seconds, "cpu_s": cpu}))


def throughput(run: Path, folder: Path, files: list[Path], place: Path, cache: Path) -> None:
    """Part 1, with a server whose queue holds what is sent."""
    data = [file.read_bytes() for file in files]
    forms = [
        form([(str(i), one) for i, one in enumerate(data[start : start + BATCH])])
        for start in range(0, len(data), BATCH)
    ]
    singles = [request(one) for one in data]
    served = Served(run, place)
    loop, in_forms, alone = [], [], []
    cpu: dict[str, list[float]] = {"predict": [], "forms": [], "single": []}
    all_once(served.port, forms[:2], 2)
    for _ in range(ROUNDS):
        printed = json.loads(timed(module("serve_load", "rate", run, folder), cache)[1])
        loop.append(printed["rate"])
        cpu["predict"].append(printed["cpu_s"])
        begun = served.cpu_seconds()
        in_forms.append(len(data) / all_once(served.port, forms, 4))
        cpu["forms"].append(served.cpu_seconds() - begun)
        begun = served.cpu_seconds()
        alone.append(len(data) / all_once(served.port, singles, 64))
        cpu["single"].append(served.cpu_seconds() - begun)
    served.stop()
    show(
        "serve_throughput",
        images=len(data),
        predict_images_s=median(loop),
        serve_forms_images_s=median(in_forms),
        serve_single_images_s=median(alone),
        ratio_forms=median(in_forms) / median(loop),
        ratio_single=median(alone) / median(loop),
        # Of the process alone: holds where other work shares the cores, too.
        **{f"{name}_cpu_ms_an_image": 1000 * median(v) / len(data) for name, v in cpu.items()},
    )


def overload(run: Path, files: list[Path], place: Path) -> None:
    """Parts 2 and 3."""
    singles = [request(file.read_bytes()) for file in files]
    options = ["--queue-images", QUEUE, "--max-images", QUEUE, "--connections", 2 * SOCKETS]
    served = Served(run, place, *options)
    closed_loop(served.port, singles, QUEUE, 3)
    full = closed_loop(served.port, singles, QUEUE, SECONDS)
    answered = [row for row in full if row[0] == 200]
    rate = len(answered) / SECONDS
    before = served.memory()
    loop = OpenLoop(served.port, singles, TIMES * rate, SECONDS)
    found = loop.run()
    memory, alive = served.memory(), served.process.poll() is None
    status, _ = Connection(served.port).ask(singles[0])
    _, log = served.stop()
    good = [seconds for code, seconds, _ in found if code == 200]
    refused = [seconds for code, seconds, _ in found if code == 429]
    p99 = percentile([seconds for _, seconds, _ in answered], 0.99)
    show(
        "serve_overload",
        full_load_requests_s=rate,
        full_load_p50_ms=1000 * percentile([s for _, s, _ in answered], 0.5),
        full_load_p99_ms=1000 * p99,
        full_load_refused=len(full) - len(answered),
        sent_requests_s=(len(found) + loop.cut) / SECONDS,
        not_sent=loop.unsent,
        cut_off=loop.cut,
        answered_requests_s=len(good) / SECONDS,
        answered_p50_ms=1000 * percentile(good, 0.5),
        answered_p99_ms=1000 * percentile(good, 0.99),
        p99_ratio=percentile(good, 0.99) / p99,
        refused=len(refused),
        refused_p50_ms=1000 * percentile(refused, 0.5),
        refused_p99_ms=1000 * percentile(refused, 0.99),
        other_statuses=sorted({code for code, _, _ in found} - {200, 429}),
        memory_before_mb=before / 1e6,
        memory_after_mb=memory / 1e6,
        alive=alive and status == 200,
        accepted_equals_finished=log[-1]["accepted"] == log[-1]["finished"],
    )


def main() -> None:
    with workplace() as place:
        cache = place / "cache"
        run, folder = run_and_folder(place, cache)
        from graft.data.sources import find_images

        files = sorted(find_images(folder))
        files = files[:: max(1, len(files) // MOST)][:MOST]
        some = place / "images"
        some.mkdir()
        for number, file in enumerate(files):
            (some / f"{number:04}{file.suffix}").write_bytes(file.read_bytes())
        throughput(run, some, sorted(some.iterdir()), place, cache)
        overload(run, sorted(some.iterdir()), place)


if __name__ == "__main__":
    rate(*sys.argv[2:]) if sys.argv[1:2] == ["rate"] else main()
