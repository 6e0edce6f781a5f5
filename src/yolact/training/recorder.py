"""Takes snapshots of a model while it learns: the callback behind ``yolact report``."""

from collections.abc import Callable

import lightning

from yolact.reporting.snapshots import Snapshot


class Recorder(lightning.Callback):
    """Looks at the same few pictures at chosen steps, and writes what the model makes of them."""

    def __init__(self) -> None:
        """Nothing is watched yet."""
        self.listeners: list[Callable[[Snapshot], None]] = []
        """Called with every snapshot."""
