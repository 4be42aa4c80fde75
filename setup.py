"""What pyproject.toml cannot say: the lessons lie in notebooks/, beside src/, and are installed
into the package. All else is in pyproject.toml.
"""

from setuptools import find_packages, setup

LESSONS = "graft.lessons.notebooks"

setup(
    packages=[*find_packages("src"), LESSONS],
    package_dir={"": "src", LESSONS: "notebooks"},
    package_data={LESSONS: ["*.ipynb"]},
)
