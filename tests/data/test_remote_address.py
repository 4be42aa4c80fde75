from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graft.data.remote_address import is_remote, local_path, public_address, scrubbed
from graft.errors import UsageError

SECRET = "tOpSeCrEt"
PATHS = st.lists(st.text("ab1-_.", min_size=1, max_size=4), max_size=3).map("/".join)
# What people put into passwords and signatures.
AROUND = st.text("aB3:/@%+=&#!?", max_size=4)


# A slash, a question mark and a hash in a password have to be escaped: unescaped, they are the end
# of the server's name.
WORDS = st.text("aB3:@%+=&!", max_size=4)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["http", "https", "s3"]), PATHS, WORDS, WORDS)
def test_a_password_is_in_no_public_address(scheme: str, path: str, one: str, two: str) -> None:
    address = f"{scheme}://user:{one}{SECRET}{two}@server.example/{path}"
    assert SECRET not in public_address(address)
    assert SECRET not in scrubbed(f"403, message='Forbidden', url='{address}'")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["https", "s3", "az", "abfs"]), PATHS, AROUND)
def test_a_signed_query_is_in_no_public_address(scheme: str, path: str, after: str) -> None:
    address = f"{scheme}://server.example/{path}?X-Amz-Signature={SECRET}{after}&sv=1"
    assert public_address(address) == f"{scheme}://server.example/{path}"
    assert SECRET not in scrubbed(f"cannot open {address}, sorry")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("https://token@server.example/x", "https://server.example/x"),
        ("https://server.example:8080/x#part", "https://server.example:8080/x"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("s3://bucket/a#1/b@2.jpg", "s3://bucket/a#1/b@2.jpg"),
        ("hf://datasets/owner/name@main/data", "hf://datasets/owner/name@main/data"),
        (
            "abfs://images@account.dfs.core.windows.net/x",
            "abfs://images@account.dfs.core.windows.net/x",
        ),
        ("photos/why?.jpg", "photos/why?.jpg"),
        ("user:secret@host/x", "user:secret@host/x"),  # a path, however odd
    ],
)
def test_all_else_stays_in_a_public_address(address: str, public: str) -> None:
    assert public_address(address) == public


def test_paths_and_addresses_are_told_apart(tmp_path: Path) -> None:
    assert not is_remote(tmp_path)
    assert not is_remote("photos")
    assert not is_remote("C:/photos")
    assert not is_remote("file:///photos")
    assert local_path("file:///my%20photos") == Path("/my photos")
    assert all(map(is_remote, ["s3://b", "gs://b/x", "az://c", "hf://datasets/o/n", "HTTPS://x/"]))
    with pytest.raises(UsageError, match="begins with one of s3://"):
        is_remote("ftp://user:pw@server/x")
