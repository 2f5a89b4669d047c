"""Who is told of a Failure: the client, and the operator if only he can mend it; and whether another model may help."""

import logging
from types import TracebackType

from app.calls import Account, Failure, FailureKind
from app.errors import APIStatusError
from app.upstream.answers import is_operators, to_error

logger = logging.getLogger("flarelay")


class failures_told:  # noqa: N801 - a context manager, and no generator, which would cost each request more
    """To the client as an APIStatusError; and to the operator, if it is a fault that only he can mend."""

    __slots__ = ("_account",)

    def __init__(self, account: Account) -> None:
        self._account = account

    def __enter__(self) -> None:
        return

    def __exit__(
        self, _kind: type[BaseException] | None, failure: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if not isinstance(failure, Failure):
            return
        account = self._account
        if account.is_ours and is_operators(failure):
            told = failure.account or account.id
            fields = {"account": told, "kind": failure.kind, "code": failure.code, "reason": failure.message}
            logger.error("Cloudflare refuses the server's own account", extra={"fields": fields})
        raise to_error(failure, is_ours=account.is_ours) from failure


MODELS = frozenset(
    {
        FailureKind.CAPACITY,
        FailureKind.RATE_LIMIT,
        FailureKind.PERMISSION,
        FailureKind.MODEL_NOT_FOUND,
        FailureKind.TIMEOUT,
        FailureKind.CONNECTION,
        FailureKind.BROKEN,
        FailureKind.SERVER,
    }
)
"""Failures that another model may not have."""


def is_models(error: APIStatusError) -> bool:
    return isinstance(error.__cause__, Failure) and error.__cause__.kind in MODELS
