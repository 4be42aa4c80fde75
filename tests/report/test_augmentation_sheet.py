"""The contact sheet of `graft augment`."""

from PIL import Image


def test_it_shows_every_preset_as_one_image(graft_here, make_digits, tmp_path):
    images = make_digits(tmp_path / "digits", each=5)
    out = tmp_path / "sheet.png"
    ended = graft_here("augment", images, "--out", out, "--image-size", "24")
    assert ended.code == 0, ended.err
    with Image.open(out) as sheet:
        assert sheet.width > 1000
        assert sheet.height > 4 * 3 * 100
    assert str(out) in ended.out


def test_images_that_cannot_be_read_are_passed_over(graft_here, make_digits, tmp_path):
    images = make_digits(tmp_path / "digits", each=5)
    for file in images.rglob("*.png"):
        file.write_bytes(file.read_bytes()[:40])
    ended = graft_here("augment", images, "--out", tmp_path / "sheet.png")
    assert ended.code == 3
    assert "no image that can be read" in ended.err
    assert not (tmp_path / "sheet.png").exists()
