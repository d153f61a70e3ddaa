"""Taking large requests apart beside the event loop, which goes on answering the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from serving.memory import give_back

T = TypeVar("T")
WINDOW = 1 << 16
"""Bytes that are taken apart at a time; as many at once hold up nobody."""
_HUGE = 8 * 2**20
"""Bytes after which memory is given back."""
_parser = ThreadPoolExecutor(1, "parser")
"""Where large requests are taken apart: more at a time would wait for Python's lock, and make
the event loop wait behind all of them."""


async def off_loop(size: int, function: Callable[..., T], *args: Any) -> T:
    """Calls what takes a request of so many bytes apart; where that may be long, elsewhere.

    That is another thread, in pieces between which the event loop goes on.
    """
    if size <= WINDOW:
        return function(*args)
    call = partial(copy_context().run, function, *args)
    try:
        return await asyncio.get_running_loop().run_in_executor(_parser, call)
    finally:
        if size > _HUGE:
            await asyncio.get_running_loop().run_in_executor(_parser, give_back)
