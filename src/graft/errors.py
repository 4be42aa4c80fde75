"""What can go wrong, and the exit code of each.

GraftError            1   (base; never raised itself)
├── UsageError        2   a setting or an argument is not possible
├── DataError         3   the images, labels or tables cannot be used
├── ModelError        4   a model or its weights are missing or do not fit
└── DownloadError     5   a file could not be fetched whole

Ctrl-C ends with 130, SIGTERM with 143 and a terminal that closes with 129, the shells' own numbers.

Every message is one line: what was expected, what came, what to do.
"""


class GraftError(Exception):
    """Base of every error that is the input's fault and not graft's."""

    exit_code = 1


class UsageError(GraftError):
    """A setting or an argument is not possible."""

    exit_code = 2


class DataError(GraftError):
    """The images, labels or tables cannot be used as they are."""

    exit_code = 3


class ModelError(GraftError):
    """A model or its weights are missing, or do not fit each other."""

    exit_code = 4


class DownloadError(GraftError):
    """A file could not be fetched whole, or is not the file that was promised."""

    exit_code = 5


INTERRUPTED = 130  # 128 and SIGINT's number, as of the other signals
