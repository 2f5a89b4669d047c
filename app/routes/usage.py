"""`GET /v1/usage`: what a key has consumed. `GET /v1/admin/usage`: what all of them have, for whoever runs the server.

As JSON, or as CSV with `format=csv` or `Accept: text/csv`. Days are those of UTC; the report is of the current month
unless `start_date` and `end_date` (both included) say otherwise. `group_by` is a list of what to tell apart.
"""

import csv
import hashlib
import hmac
import io
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from app.auth import Auth
from app.calls import Caller, FailureKind
from app.errors import AuthenticationError, BadRequestError, InternalServerError, NotFoundError
from app.routes.billing import AllowanceOf
from app.schemas.usage import (
    AccountState,
    AdminUsageReport,
    AdminUsageRow,
    Allowance,
    UsageReport,
    UsageRow,
    UsageTotals,
)
from app.stores.database import StoreError
from app.stores.ledger import Ledger, Row
from app.upstream.accounts import Parked

OWN_FIELDS = ("day", "model")
ADMIN_FIELDS = ("day", "key", "account", "model")
COUNTS = tuple(UsageTotals.model_fields)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take what begins so for a formula (OWASP, "CSV Injection"), and names are of anybody's choice."""

R = TypeVar("R", bound=UsageRow)


AccountStates = Callable[[], list[AccountState]]


class Wish(NamedTuple):
    """What the query asks for."""

    since: date
    until: date
    fields: tuple[str, ...]
    is_csv: bool


def router(
    ledger: Ledger,
    auth: Auth,
    allowance: AllowanceOf,
    accounts: AccountStates,
    *,
    admin_key: str | None,
    now: Callable[[], float] = time.time,
) -> APIRouter:
    """`now` is in Unix seconds. Without `admin_key` there is no report of all keys."""
    routes = APIRouter(tags=["usage"])

    def identify(request: Request) -> Caller:
        caller = auth.identify(request.scope["headers"])
        request.scope["record"].caller = caller.name
        return caller

    def admit(request: Request) -> None:
        check_admin(request.scope["headers"], admin_key)
        request.scope["record"].caller = "admin"

    def wish(
        request: Request,
        start_date: Annotated[date | None, Query(description="YYYY-MM-DD; the first of this month")] = None,
        end_date: Annotated[date | None, Query(description="YYYY-MM-DD; today")] = None,
        group_by: Annotated[str, Query(description="Of `day` and `model`, for an admin `key` and `account` too")] = "",
        format: Annotated[Literal["json", "csv"] | None, Query()] = None,  # noqa: A002 - the name in the query
    ) -> Wish:
        today = datetime.fromtimestamp(now(), UTC).date()
        until = end_date or max(today, start_date or today)
        since = start_date or until.replace(day=1)
        if since > until:
            raise BadRequestError("'start_date' is after 'end_date'.", param="start_date", code="invalid_value")
        known = ADMIN_FIELDS if request.url.path.endswith("/admin/usage") else OWN_FIELDS
        wants_csv = format == "csv" if format else "text/csv" in request.headers.get("accept", "").lower()
        return Wish(since, until, _fields(group_by, known), wants_csv)

    WishDep = Annotated[Wish, Depends(wish)]  # noqa: N806 - a type

    async def own(caller: Annotated[Caller, Depends(identify)], wish: WishDep) -> Response:
        """What your key has consumed, and what it may yet today."""
        rows = await _read(ledger, wish, caller.name)
        data = grouped(UsageRow, rows, wish.fields)
        if wish.is_csv:
            return _csv(wish.fields, data)
        return _json(
            UsageReport(
                start_date=wish.since,
                end_date=wish.until,
                total=_total(rows),
                data=data,
                allowance=_allowance(*allowance(caller), now()),
            )
        )

    async def everybodys(_: Annotated[None, Depends(admit)], wish: WishDep) -> Response:
        """What all keys have consumed, and how the server's accounts are."""
        rows = await _read(ledger, wish, None)
        data = grouped(AdminUsageRow, rows, wish.fields)
        if wish.is_csv:
            return _csv(wish.fields, data)
        return _json(
            AdminUsageReport(
                start_date=wish.since, end_date=wish.until, total=_total(rows), data=data, accounts=accounts()
            )
        )

    for prefix in ("/v1", ""):
        is_shown = prefix == "/v1"
        for path, handler, model in (("/usage", own, UsageReport), ("/admin/usage", everybodys, AdminUsageReport)):
            routes.add_api_route(
                f"{prefix}{path}",
                handler,
                response_model=model,
                responses={200: {"content": {"text/csv": {}}}},
                include_in_schema=is_shown,
            )
    return routes


async def _read(ledger: Ledger, wish: Wish, key: str | None) -> Sequence[Row]:
    try:
        return await ledger.report(since=wish.since, until=wish.until, key=key)
    except StoreError as failure:
        raise InternalServerError("The usage can't be read at the moment.", status=503) from failure


def check_admin(headers: Iterable[tuple[bytes, bytes]], admin_key: str | None) -> None:
    """Raises NotFoundError if there is no admin key, AuthenticationError if it is not shown."""
    if not admin_key:
        raise NotFoundError("There is nothing here: the server has no ADMIN_KEY.")
    wanted = hashlib.sha256(admin_key.encode()).digest()
    shown = [hmac.compare_digest(hashlib.sha256(key).digest(), wanted) for key in _shown(headers)]
    if not any(shown):
        raise AuthenticationError("The server's ADMIN_KEY is needed here, as `Authorization: Bearer KEY`.")


def _shown(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    for name, value in headers:
        scheme, _, rest = value.strip().partition(b" ")
        if name == b"x-api-key":
            yield value.strip()
        elif name == b"authorization" and scheme.lower() == b"bearer":
            yield rest.strip()


def account_states(
    ids: Iterable[str], parked: Iterable[Parked], spent: Callable[[str], float], limit: float | None = None
) -> list[AccountState]:
    """How the server's accounts are. `spent` tells an account's neurons of today, of which there are `limit`."""
    parking = {each.id: each for each in parked if each.is_ours}
    return [_account_state(name, parking.get(name), spent(name), limit) for name in ids]


def _account_state(name: str, parking: Parked | None, spent: float, limit: float | None) -> AccountState:
    """What is left counts nothing once Cloudflare itself says that the day's neurons are spent."""
    remaining = None if limit is None else max(0.0, round(limit - spent, 6))
    return AccountState(
        account=name,
        parked_until=datetime.fromtimestamp(int(parking.until), UTC) if parking else None,
        parked_because=str(parking.reason) if parking else None,
        limit=limit,
        spent=round(spent, 6),
        remaining=0.0 if parking and parking.reason is FailureKind.QUOTA else remaining,
    )


def _fields(group_by: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The columns to tell apart, in their own order; the day unless something is named."""
    wanted = {name.strip() for name in group_by.split(",")} - {""} or {"day"}
    if unknown := wanted - set(known):
        message = f"'group_by' can't be '{min(unknown)[:100]}': it is a list of {', '.join(known)}."
        raise BadRequestError(message, param="group_by", code="invalid_value")
    return tuple(name for name in known if name in wanted)


def grouped(kind: type[R], rows: Sequence[Row], fields: tuple[str, ...]) -> list[R]:
    """The sums of rows that are equal in `fields`, in the order of these."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in fields), []).append(row)
    return [
        kind(**dict(zip(fields, key, strict=True)), **_total(group).model_dump())
        for key, group in sorted(groups.items())
    ]


def _total(rows: Sequence[Row]) -> UsageTotals:
    """Rounded, since sums of fractions come with a tail of digits."""
    return UsageTotals(**{name: round(sum(getattr(row, name) for row in rows), 6) for name in COUNTS})


def _allowance(limit: float | None, spent: float, now: float) -> Allowance:
    midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    remaining = None if limit is None else max(0.0, round(limit - spent, 6))
    return Allowance(limit=limit, spent=round(spent, 6), remaining=remaining, resets_at=midnight + timedelta(days=1))


def _json(report: BaseModel) -> Response:
    return Response(report.model_dump_json(), media_type="application/json", headers={"cache-control": "no-store"})


def _csv(fields: tuple[str, ...], rows: Sequence[UsageRow]) -> Response:
    columns = (*fields, *COUNTS)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(getattr(row, name)) for name in columns] for row in rows)
    headers = {"content-disposition": 'attachment; filename="usage.csv"', "cache-control": "no-store"}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
