import pytest
from app_client import copied


@pytest.fixture(scope="session")
def rendered():
    """The folder of rendered objects that graft writes into its cache: 6 classes of 64 images."""
    from graft.demo.rendered_images import rendered_images

    return rendered_images().folder


@pytest.fixture
def photos(rendered, tmp_path):
    """A folder of three classes with 20 rendered images each, to be used by one test."""
    return copied(rendered, tmp_path / "photos", 20)
