"""`graft serve` under hostile uploads while good requests pass: none lost, none wrong.

[RUN FOLDER]: a trained run and images; without them a run of the default network is trained on
flowers. GRAFT_SERVE_HOSTILE (10,000) uploads: truncated, bombs, polyglots, wrong types, lying
lengths, path tricks in names, slow and broken connections. Meanwhile a tenth as many good requests
are compared with `graft predict`. A good request that is told 429 is sent again, as it should be.
"""

import io
import json
import os
import random
import socket
import struct
import subprocess
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

from PIL import Image

from benchmarks.common import GRAFT, show, workplace
from benchmarks.serve_client import Connection, Served, form, percentile, request, run_and_folder

COUNT = int(os.environ.get("GRAFT_SERVE_HOSTILE", "10000"))
GOOD = COUNT // 10
CLIENTS = 6


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of 60,000 × 60,000 pixels in a few kilobytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def hostile(good: list[bytes], rng: random.Random) -> list[tuple[str, bytes]]:
    """(kind, bytes to send) in random order; the same for the same generator."""
    large = encoded(Image.new("1", (7200, 7200)), "PNG")
    nearly = encoded(Image.new("L", (6900, 6900)), "PNG")
    html = b"<html><script>alert(1)</script></html>"
    tricks = ["../../../etc/passwd", "a\x00b.jpg", "\x1b[2J.jpg", "x" * 3000, "CON", "/dev/zero"]
    scans = good[0][:-2] + b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00" * 5000

    def one(number: int) -> tuple[str, bytes]:
        data = rng.choice(good)
        match number % 16:
            case 0:
                return "truncated", request(data[: rng.randrange(1, len(data))])
            case 1:
                spoiled = bytearray(data)
                for _ in range(20):
                    spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
                return "spoiled", request(bytes(spoiled))
            case 2:
                return "bomb", request(bomb(), "image/png")
            case 3:
                return "large", request(large if rng.random() < 0.9 else nearly, "image/png")
            case 4:
                return "polyglot", request(rng.choice([data + html, html + data, b"GIF89a" + data]))
            case 5:
                return "wrong type", request(html, rng.choice(["text/html", "image/png", "x" * 99]))
            case 6:
                return "eps", request(b"%!PS-Adobe-3.0 EPSF-3.0\n(x) run\n", "image/jpeg")
            case 7:
                sent = request(data)
                size = rng.choice([b"-1", b"9" * 30, b"1e9", b"0x10", b"%d" % (len(data) * 2)])
                return "lying length", sent.replace(b"%d\r\n\r\n" % len(data), size + b"\r\n\r\n")
            case 8:
                name = rng.choice(tricks)
                return "path trick", form([(name, data[:100] if rng.random() < 0.5 else data)])
            case 9:
                return "no JSON", request(b'{"image": ' + b"[" * 5000, "application/json")
            case 10:
                return "no base64", request(b'{"images": ["%s"]}' % html, "application/json")
            case 11:
                return "many parts", form([("a", b"x")] * 200)
            case 12:
                sent = form([("a.jpg", data)])
                return "broken form", sent.replace(b"--edge--", b"--edgy--")
            case 13:
                tensor = b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[9,99999,99999,3]'
                body = tensor + b',"data":[1]}]}'
                return "lying tensor", request(body, "application/json", "/v2/models/model/infer")
            case 14:
                return "no HTTP", rng.randbytes(300) + b"\r\n\r\n"
            case _:
                return "scans", request(scans)

    return [one(number) for number in range(COUNT)]


class Attack:
    """Clients that send the hostile requests; some connections are ended in the middle."""

    def __init__(self, port: int, sent: list[tuple[str, bytes]]) -> None:
        self.port, self.rest, self.lock = port, iter(sent), threading.Lock()
        self.seen: Counter[tuple[str, int]] = Counter()

    def run(self, seed: int) -> None:
        """One client, until nothing is left to send."""
        rng, connection = random.Random(seed), Connection(self.port, timeout=60)
        while True:
            with self.lock:
                kind, data = next(self.rest, ("", b""))
            if not kind:
                break
            try:
                if rng.random() < 0.05:  # gone in the middle
                    with socket.create_connection(("127.0.0.1", self.port)) as cut:
                        cut.sendall(data[: rng.randrange(1, len(data) + 1)])
                    status = 0
                elif kind == "lying length":  # it may wait for bytes that never come
                    with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as lying:
                        lying.sendall(data)
                        status = int((lying.recv(4096) + b" " * 12)[9:12].strip() or 0)
                else:
                    status, _ = connection.ask(data)
            except TimeoutError:
                status = 0
            except (OSError, ValueError):
                status = 0
            with self.lock:
                self.seen[kind, status] += 1
        connection.close()


def predicted(run: Path, files: list[Path], cache: Path) -> list[dict]:
    """What `graft predict` says of them."""
    command = [*GRAFT, "predict", str(run), *map(str, files), "--json"]
    environment = os.environ | {"GRAFT_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def differs(answer: dict, wanted: dict) -> bool:
    """Whether it is another answer, beyond what a batch makes of half precision."""
    if answer["best_guess"] != wanted["best_guess"] or answer["label"] != wanted["label"]:
        return True
    pairs = zip(answer["probabilities"].values(), wanted["probabilities"].values(), strict=True)
    return max(abs(a - b) for a, b in pairs) > 0.02


def main() -> None:
    with workplace() as place:
        cache = place / "cache"
        run, folder = run_and_folder(place, cache)
        from graft.data.sources import find_images

        files = sorted(find_images(folder))
        files = files[:: max(1, len(files) // 100)][:100]
        expected, data = predicted(run, files, cache), [file.read_bytes() for file in files]
        served = Served(run, place)
        before = served.memory()
        attack = Attack(served.port, hostile(data, random.Random(0)))
        threads = [threading.Thread(target=attack.run, args=[i]) for i in range(CLIENTS)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        lost = wrong = again = number = highest = 0
        times: list[float] = []
        connection = Connection(served.port)
        # At least so many, and until the attack is over.
        while number < GOOD or any(thread.is_alive() for thread in threads):
            asked = time.perf_counter()
            try:
                status, body = connection.ask(request(data[number % len(data)]))
            except OSError:
                status, body = 0, b""
            if status == 429:
                again += 1
                time.sleep(0.05)
                continue
            times.append(time.perf_counter() - asked)
            lost += status != 200
            wrong += status == 200 and differs(json.loads(body), expected[number % len(data)])
            number += 1
            highest = max(highest, served.memory())
        for thread in threads:
            thread.join()
        seconds, after, alive = (
            time.perf_counter() - began,
            served.memory(),
            not served.process.poll(),
        )
        children = served.children()
        code, log = served.stop()
    by_kind: dict[str, dict[int, int]] = {}
    for (kind, status), count in sorted(attack.seen.items()):
        by_kind.setdefault(kind, {})[status] = count
    show(
        "serve_hostile",
        hostile=sum(attack.seen.values()),
        good=number,
        lost=lost,
        wrong=wrong,
        sent_again_after_429=again,
        good_p99_ms=1000 * percentile(times, 0.99),
        answers_500=sum(n for (_, status), n in attack.seen.items() if status == 500),
        seconds=seconds,
        memory_before_mb=before / 1e6,
        memory_highest_mb=highest / 1e6,
        memory_after_mb=after / 1e6,
        alive=alive,
        children=children,
        exit_code=code,
        tracebacks=sum("traceback" in line for line in log),
        accepted_equals_finished=log[-1]["accepted"] == log[-1]["finished"],
        statuses=by_kind,
    )


if __name__ == "__main__":
    main()
