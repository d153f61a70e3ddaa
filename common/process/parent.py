"""How a child process ends with the process that started it, however that ends."""

from __future__ import annotations

import os

PARENT_VARIABLE = "VISIONLINE_PARENT_PID"
"""Environment variable with the process that must be alive for this one to go on."""


def die_with_parent() -> None:
    """Asks Linux to end this process when its parent dies, where it was started as a child.

    What the kernel watches is the thread that started it, see `common.process.children`.
    """
    parent = os.environ.pop(PARENT_VARIABLE, None)  # this one's; its children have another
    if not parent:
        return
    import ctypes
    import signal

    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if int(parent) != os.getppid():  # it died before we could ask
        os.kill(os.getpid(), signal.SIGKILL)
