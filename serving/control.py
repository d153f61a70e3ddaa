"""Loading and unloading by request: whether that may be asked for, and who did."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from serving.auth import CONTROL_ENVIRONMENT, Token
from serving.errors import ForbiddenError
from serving.logs.access import Access
from serving.logs.record import current
from serving.models.repository import Repository

OFF = (
    "Loading and unloading by request is off. The server's operator can set a token for it, "
    f"{CONTROL_ENVIRONMENT} or auth.control_token_file, or let everyone do it: control = true."
)


class Control:
    """What changes the state of a server; closed unless it is opened.

    Args:
      open_to_all: whoever may ask for a prediction may also load and unload.
      token: what must be brought for it.
    """

    def __init__(
        self,
        repository: Repository,
        access: Access,
        *,
        open_to_all: bool = False,
        token: Token | None = None,
    ) -> None:
        self.token = token
        self._repository = repository
        self._access = access
        self._open_to_all = open_to_all

    def check(self, authorization: Sequence[bytes]) -> None:
        """Takes a request's Authorization headers (or metadata).

        Raises:
          ForbiddenError: nobody may control this server.
          UnauthorizedError: they do not hold the token for it.
        """
        if self.token is not None:
            self.token.check(authorization)
        elif not self._open_to_all:
            raise ForbiddenError(OFF)

    async def load(self, name: str) -> None:
        """Loads as `Repository.load` does; of a request that was checked."""
        self._log("load", name)
        await asyncio.to_thread(self._repository.load, name)

    async def unload(self, name: str) -> None:
        """Unloads as `Repository.unload` does; of a request that was checked."""
        self._log("unload", name)
        record = current()
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        by = f"{record.peer or 'an unknown peer'} at {at}, request id {record.request_id}"
        await asyncio.to_thread(self._repository.unload, name, by)

    def _log(self, call: str, name: str) -> None:
        record = current()
        if name in self._repository:
            record.model = name
        self._access.control(call, record)
