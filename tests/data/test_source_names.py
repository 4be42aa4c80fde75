"""Names that a system allows and UTF-8 does not."""

import os

from graft.data.sources import load_dataset


def test_a_file_whose_name_is_not_utf8_is_named_as_an_finding_and_left_out(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "1.png").write_bytes(b"x")
    with open(os.fsencode(tmp_path / "photos" / "a") + b"/caf\xe9.png", "wb") as stream:  # noqa: PTH123
        stream.write(b"x")
    found = load_dataset(tmp_path / "photos", tmp_path / "cache")
    assert [example.path for example in found.examples] == ["a/1.png", "b/1.png"]
    assert [(finding.kind, finding.paths) for finding in found.findings] == [
        ("bad_name", ("a/caf?.png",))
    ]
