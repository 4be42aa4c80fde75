import gzip
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.data import download
from graft.data.download import fetch
from graft.errors import DownloadError

BODY = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
ZEROS = hashlib.sha256(bytes(len(BODY))).hexdigest()


class Publisher(ThreadingHTTPServer):
    """Serves `body` at every path; each request uses up one of `moods`, the last one stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}/images.tar"
        self.start_over()

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that leaves is what some of these tests are about.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def start_over(self) -> None:
        self.body = BODY
        self.moods = ["whole"]
        self.ranges: list[str | None] = []
        self.meeting = threading.Barrier(2, timeout=10)
        self.end = threading.Event()
        self.before_answer: Callable[[], object] = lambda: None


class Answer(BaseHTTPRequestHandler):
    server: Publisher

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server, body = self.server, self.server.body
        mood = server.moods.pop(0) if len(server.moods) > 1 else server.moods[0]
        server.ranges.append(self.headers["Range"])
        server.before_answer()
        if mood == "missing":
            self.send_error(404)
            return
        if mood == "hang up":
            self.close_connection = True
            return
        if mood == "elsewhere" and self.path != "/moved":
            self.send_response(302)
            self.send_header("Location", "/moved")
            self.end_headers()
            return
        if mood == "compressed if allowed" and "gzip" in self.headers["Accept-Encoding"]:
            body = gzip.compress(body)
        start = 0
        if mood not in ("no ranges", "no ranges, cut") and self.headers["Range"]:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.end_headers()
            return
        start = start // 2 if mood == "other range" else start
        self.send_response(206 if start or mood == "only a partial" else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        rest = body[start:]
        if mood == "wrong":
            rest = bytes(len(rest))
        half = len(rest) // 2
        if mood == "no length, cut":
            self.end_headers()
            self.wfile.write(rest[:half])
            return
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[:half])
        if mood == "meet":
            server.meeting.wait()
        if mood == "silent":
            server.end.wait(10)
        elif "cut" not in mood:
            self.wfile.write(rest[half:])


@pytest.fixture(scope="module")
def running() -> Iterator[Publisher]:
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def publisher(running: Publisher) -> Iterator[Publisher]:
    running.start_over()
    yield running
    running.end.set()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RETRY_PAUSES", (0.0, 0.0))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def partial_of(file: Path) -> Path:
    return file.with_name(file.name + ".partial")


def note_of(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")


def test_a_file_is_fetched_into_a_new_folder(publisher: Publisher, tmp_path: Path) -> None:
    file = tmp_path / "new" / "images.tar"
    assert fetch(publisher.url, file, sha256=SHA256) == file
    assert file.read_bytes() == BODY
    assert list(file.parent.iterdir()) == [file]


def test_a_checksum_in_capitals_is_the_same_checksum(publisher: Publisher, tmp_path: Path) -> None:
    assert fetch(publisher.url, tmp_path / "x", sha256=SHA256.upper()).read_bytes() == BODY


def test_the_bytes_are_fetched_as_they_lie_there(publisher: Publisher, tmp_path: Path) -> None:
    publisher.moods = ["compressed if allowed"]
    assert fetch(publisher.url, tmp_path / "x", sha256=SHA256).read_bytes() == BODY


def test_a_redirection_is_followed(publisher: Publisher, tmp_path: Path) -> None:
    publisher.moods = ["elsewhere"]
    assert fetch(publisher.url, tmp_path / "x", sha256=SHA256).read_bytes() == BODY


def test_a_file_that_is_there_is_not_fetched_again(publisher: Publisher, tmp_path: Path) -> None:
    file = tmp_path / "images.tar"
    file.write_bytes(BODY)
    assert fetch(publisher.url, file, sha256=SHA256) == file
    assert publisher.ranges == []


def test_another_file_in_the_place_is_left_there_and_named(
    publisher: Publisher, tmp_path: Path
) -> None:
    file = tmp_path / "images.tar"
    file.write_bytes(b"something of my own")
    with pytest.raises(DownloadError, match=f"{file} is there but .* expected sha256 {SHA256}"):
        fetch(publisher.url, file, sha256=SHA256)
    assert file.read_bytes() == b"something of my own"
    assert publisher.ranges == []


def test_progress_counts_up_to_the_size_of_the_file(publisher: Publisher, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch(publisher.url, tmp_path / "x", sha256=SHA256, on_progress=lambda *it: seen.append(it))
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_progress_of_a_resumed_file_counts_what_was_there(
    publisher: Publisher, tmp_path: Path
) -> None:
    file, seen = tmp_path / "x", []
    partial_of(file).write_bytes(BODY[:200_000])
    fetch(publisher.url, file, sha256=SHA256, on_progress=lambda *it: seen.append(it))
    assert all(done > 200_000 and total == len(BODY) for done, total in seen)


def test_a_download_that_is_cut_off_is_tried_twice_more_from_where_it_stopped(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.moods = ["cut", "cut", "whole"]
    file = fetch(publisher.url, tmp_path / "x", sha256=SHA256)
    assert file.read_bytes() == BODY
    assert publisher.ranges == [None, "bytes=128000-", "bytes=192000-"]


def test_a_download_that_is_cut_off_resumes_where_it_stopped(
    publisher: Publisher, tmp_path: Path
) -> None:
    file = tmp_path / "images.tar"
    publisher.moods = ["cut"]
    with pytest.raises(DownloadError, match=r"cut off after 224,000 bytes .* the same command"):
        fetch(publisher.url, file, sha256=SHA256)
    assert len(publisher.ranges) == 3
    assert not file.exists()
    assert partial_of(file).read_bytes() == BODY[:224_000]
    publisher.moods = ["whole"]
    assert fetch(publisher.url, file, sha256=SHA256).read_bytes() == BODY
    assert publisher.ranges[3:] == ["bytes=224000-"]
    assert not partial_of(file).exists()


def test_a_server_that_goes_silent_is_cut_off(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", httpx2.Timeout(0.2))
    publisher.moods = ["silent"]
    with pytest.raises(DownloadError, match=r"cut off after 224,000 bytes \(.*timed out"):
        fetch(publisher.url, tmp_path / "x", sha256=SHA256)


def test_a_cut_that_only_the_size_gives_away_is_noticed(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.moods = ["no length, cut", "whole"]
    file = fetch(publisher.url, tmp_path / "x", sha256=SHA256, size=len(BODY))
    assert file.read_bytes() == BODY
    assert publisher.ranges == [None, "bytes=128000-"]


def test_a_server_that_ignores_ranges_sends_everything_again(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.moods = ["no ranges, cut", "no ranges, cut", "no ranges"]
    assert fetch(publisher.url, tmp_path / "x", sha256=SHA256).read_bytes() == BODY
    assert publisher.ranges == [None, "bytes=128000-", "bytes=128000-"]


def test_a_server_that_sends_another_range_than_asked_is_asked_for_everything(
    publisher: Publisher, tmp_path: Path
) -> None:
    file = tmp_path / "x"
    partial_of(file).write_bytes(BODY[:1000])
    publisher.moods = ["other range", "whole"]
    assert fetch(publisher.url, file, sha256=SHA256).read_bytes() == BODY
    assert publisher.ranges == ["bytes=1000-", None]


def test_a_partial_file_that_is_whole_is_only_renamed(publisher: Publisher, tmp_path: Path) -> None:
    for size, asked in ((None, [f"bytes={len(BODY)}-"]), (len(BODY), [])):
        publisher.ranges = []
        file = tmp_path / f"size {size}"
        partial_of(file).write_bytes(BODY)
        assert fetch(publisher.url, file, sha256=SHA256, size=size).read_bytes() == BODY
        assert publisher.ranges == asked


def test_a_file_with_a_wrong_checksum_is_deleted_and_both_checksums_are_named(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.moods = ["wrong"]
    with pytest.raises(DownloadError, match=f"expected sha256 {SHA256}, got {ZEROS}"):
        fetch(publisher.url, tmp_path / "x", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_the_partial_of_another_file_does_not_get_into_the_file(
    publisher: Publisher, tmp_path: Path
) -> None:
    file = tmp_path / "x"
    partial_of(file).write_bytes(b"not the beginning of it")
    with pytest.raises(DownloadError, match="expected sha256"):
        fetch(publisher.url, file, sha256=SHA256)
    assert fetch(publisher.url, file, sha256=SHA256).read_bytes() == BODY


def test_a_file_that_is_not_there_says_what_to_put_where_by_hand(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.moods = ["missing"]
    file = tmp_path / "images.tar"
    with pytest.raises(DownloadError) as caught:
        fetch(publisher.url, file, sha256=SHA256, way_out="or use the sample digits")
    assert str(caught.value) == (
        f"{publisher.url} could not be fetched (the server answered 404 Not Found); "
        f"fetch it by hand and put it at {file}; or use the sample digits"
    )
    assert len(publisher.ranges) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "scheme", ["http://127.0.0.1:", "ftp://127.0.0.1:", "127.0.0.1:", "http://127.0.0.1:x"]
)
def test_an_address_that_nobody_answers_says_what_to_put_where_by_hand(
    scheme: str, tmp_path: Path
) -> None:
    url = f"{scheme}{closed_port()}/images.tar"
    file = tmp_path / "images.tar"
    with pytest.raises(DownloadError) as caught:
        fetch(url, file, sha256=SHA256)
    message = str(caught.value)
    assert message.startswith(f"{url} could not be fetched (")
    assert message.endswith(f"); fetch it by hand and put it at {file}")
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_what_was_fetched_is_kept_when_nobody_answers_any_more(tmp_path: Path) -> None:
    file = tmp_path / "images.tar"
    partial_of(file).write_bytes(BODY[:1000])
    with pytest.raises(DownloadError, match=r"by hand .* the 1,000 bytes in .* are kept"):
        fetch(f"http://127.0.0.1:{closed_port()}/images.tar", file, sha256=SHA256)
    assert partial_of(file).read_bytes() == BODY[:1000]


def test_a_server_that_never_sends_everything_is_given_up(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.moods = ["only a partial"]
    with pytest.raises(DownloadError, match="only a range came, but all was asked for"):
        fetch(publisher.url, tmp_path / "x", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_hangs_up_is_tried_three_times_and_leaves_nothing(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.moods = ["hang up"]
    with pytest.raises(DownloadError, match=r"could not be fetched .* by hand"):
        fetch(publisher.url, tmp_path / "x", sha256=SHA256)
    assert len(publisher.ranges) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_line(
    publisher: Publisher, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match=r"could not be written .* another folder"):
        fetch(publisher.url, tmp_path / "file" / "images.tar", sha256=SHA256)


def test_without_a_checksum_the_digest_found_is_kept_as_sha256sum_reads_it(
    publisher: Publisher, tmp_path: Path
) -> None:
    file = fetch(publisher.url, tmp_path / "images.tar", sha256=None, size=len(BODY))
    assert note_of(file).read_text() == f"{SHA256}  images.tar\n"
    assert sorted(tmp_path.iterdir()) == [file, note_of(file)]


def test_without_a_checksum_another_size_is_refused(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="expected 300,000 bytes, got 256,000"):
        fetch(publisher.url, tmp_path / "x", sha256=None, size=300_000)
    assert list(tmp_path.iterdir()) == []


def test_without_a_checksum_a_file_put_there_by_hand_is_checked_by_its_size(
    publisher: Publisher, tmp_path: Path
) -> None:
    file = tmp_path / "images.tar"
    file.write_bytes(BODY[:-1])
    with pytest.raises(DownloadError, match="expected 256,000 bytes, got 255,999; delete it"):
        fetch(publisher.url, file, sha256=None, size=len(BODY))
    file.write_bytes(BODY)
    assert fetch(publisher.url, file, sha256=None, size=len(BODY)) == file
    assert note_of(file).read_text().split() == [SHA256, "images.tar"]
    assert publisher.ranges == []


@pytest.mark.parametrize("deleted", [True, False])
def test_without_a_checksum_later_runs_compare_with_the_first_one(
    deleted: bool, publisher: Publisher, tmp_path: Path
) -> None:
    file = fetch(publisher.url, tmp_path / "x", sha256=None, size=len(BODY))
    if deleted:
        file.unlink()
        publisher.moods = ["wrong"]
    else:
        file.write_bytes(bytes(len(BODY)))
    with pytest.raises(DownloadError, match=rf"expected sha256 {SHA256}, got {ZEROS} .*x\.sha256"):
        fetch(publisher.url, file, sha256=None, size=len(BODY))


def test_a_stored_digest_that_is_malformed_is_named(publisher: Publisher, tmp_path: Path) -> None:
    note_of(tmp_path / "x").write_text("no digest\n")
    with pytest.raises(DownloadError, match=r"x\.sha256 should begin with .* 'no'; delete it"):
        fetch(publisher.url, tmp_path / "x", sha256=None)


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_two_that_fetch_at_once_both_get_the_file(
    sha256: str | None, publisher: Publisher, tmp_path: Path
) -> None:
    publisher.moods = ["meet"]
    file = tmp_path / "images.tar"
    with ThreadPoolExecutor(2) as pool:
        tries = [pool.submit(fetch, publisher.url, file, sha256=sha256) for _ in range(2)]
        assert [each.result() for each in tries] == [file, file]
    assert len(publisher.ranges) == 2
    assert file.read_bytes() == BODY
    assert sorted(tmp_path.iterdir()) == ([file] if sha256 else [file, note_of(file)])


def test_the_slower_of_two_takes_what_the_faster_one_finished(
    publisher: Publisher, tmp_path: Path
) -> None:
    file = tmp_path / "images.tar"
    partial_of(file).write_bytes(BODY[:1000])

    def finish() -> None:
        with partial_of(file).open("ab") as partial:
            partial.write(BODY[1000:])
        partial_of(file).rename(file)

    publisher.before_answer = finish
    assert fetch(publisher.url, file, sha256=None, size=len(BODY)).read_bytes() == BODY
    assert publisher.ranges == ["bytes=1000-"]
    assert sorted(tmp_path.iterdir()) == [file, note_of(file)]


def test_a_partial_file_that_somebody_deletes_is_a_clear_error(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.before_answer = lambda: partial_of(tmp_path / "x").unlink()
    with pytest.raises(DownloadError, match=r"x\.partial vanished; run the same command again"):
        fetch(publisher.url, tmp_path / "x", sha256=SHA256)


def test_a_killed_download_leaves_a_partial_file_that_the_next_one_finishes(
    publisher: Publisher, tmp_path: Path
) -> None:
    file = tmp_path / "images.tar"
    dies_halfway = (
        "import os, signal, sys; from pathlib import Path; from graft.data.download import fetch\n"
        "def die(done, total): done >= total / 2 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "fetch(sys.argv[1], Path(sys.argv[2]), sha256=None, on_progress=die)"
    )
    command = [sys.executable, "-c", dies_halfway, publisher.url, str(file)]
    assert subprocess.run(command, env=dict(os.environ), check=False).returncode == -9
    assert not file.exists()
    assert 0 < partial_of(file).stat().st_size < len(BODY)
    assert fetch(publisher.url, file, sha256=SHA256).read_bytes() == BODY


MOODS = st.lists(st.sampled_from(["cut", "no ranges", "no ranges, cut"]), max_size=2)


@settings(max_examples=30, deadline=None)
@given(
    st.binary(min_size=1, max_size=500),
    st.integers(0, 600),
    MOODS,
)
def test_whatever_was_there_before_the_file_comes_whole(
    running: Publisher, body: bytes, there: int, moods: list[str]
) -> None:
    running.start_over()
    running.body, running.moods = body, [*moods, "whole"]
    with TemporaryDirectory() as folder:
        file = Path(folder, "x")
        partial_of(file).write_bytes((body + bytes(600))[:there])
        fetch(running.url, file, sha256=hashlib.sha256(body).hexdigest())
        assert file.read_bytes() == body
