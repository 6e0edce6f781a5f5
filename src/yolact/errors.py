"""Every error this package raises on purpose, and the exit code the command line gives it.

YolactError
├── UsageError        a setting that does not exist or contradicts another one
├── DataError         a data set that lies, or that cannot be found
├── ImageError        a picture that cannot be read
└── CheckpointError   weights that are missing, broken, or belong to another model
"""


class YolactError(Exception):
    """Base of all errors raised on purpose: the work failed. Its text is one sentence for users."""

    exit_code = 1


class UsageError(YolactError):
    """A setting is unknown, out of range, or contradicts another one."""

    exit_code = 2


class DataError(YolactError):
    """A data set is missing, cannot be parsed, or contradicts itself."""

    exit_code = 3


class ImageError(YolactError):
    """A picture cannot be read or decoded."""

    exit_code = 3


class CheckpointError(YolactError):
    """Weights are missing, broken, or do not fit the model."""

    exit_code = 3
