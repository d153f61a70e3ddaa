"""What a request can be refused with, on every protocol."""

from __future__ import annotations

from common.errors import ServingError

_LONGEST = 500
"""Characters; gRPC sends them in a header, of a few thousand at most."""


class InvalidRequestError(ServingError):
    """Malformed, of a wrong shape or type, or no image."""

    status = 400
    code = "INVALID_ARGUMENT"


class UnauthorizedError(ServingError):
    status = 401
    code = "UNAUTHENTICATED"


class ForbiddenError(ServingError):
    """Nobody may tell the server that."""

    status = 403
    code = "PERMISSION_DENIED"


class UnknownModelError(ServingError):
    """No such model, version or label."""

    status = 404
    code = "NOT_FOUND"


class UnknownServiceError(ServingError):
    """Whose health is asked for, and which is not offered."""

    status = 404
    code = "NOT_FOUND"


class SlowClientError(ServingError):
    """The request was not there in time."""

    status = 408
    code = "DEADLINE_EXCEEDED"


class TooLargeError(ServingError):
    """More bytes, pixels or images than are taken at once."""

    status = 413
    code = "INVALID_ARGUMENT"


class UnsupportedEncodingError(ServingError):
    status = 415
    code = "INVALID_ARGUMENT"


class BusyError(ServingError):
    """The queue is full; try again."""

    status = 429
    code = "RESOURCE_EXHAUSTED"


class UnavailableError(ServingError):
    """The version is not loaded, or the server is going down."""

    status = 503
    code = "UNAVAILABLE"


class DeadlineError(ServingError):
    status = 504
    code = "DEADLINE_EXCEEDED"


def client_text(error: Exception) -> str:
    """Returns what a client is told; what it sent may be in there, however long."""
    text = str(error)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


class LoadError(ServingError):
    """A version that cannot be served."""
