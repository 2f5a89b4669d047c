"""The guarded fetch of a picture or a document that a caller names by its address.

Callers choose where this server connects to, so what counts is where an address leads, not how it is spelt:

1. Only http and https; no user name or password; ports 80, 443 and above 1023, since the rest below belongs to
   mail, SSH, file sharing and the like.
2. A host is looked up once. All of its addresses must be public or allowed by the settings, and the connection goes
   to one of those addresses: a second answer of the same name server ("DNS rebinding") is never asked for. `Host` and
   the check of the certificate keep the name.
3. At most three redirects, each checked like the first address, and none that leads from https back to http.
4. One time limit for everything, and a size limit that counts what arrives rather than what was announced.
5. No cookies, no credentials, no proxy from the environment, no connection that a later fetch could find open.

A host that is unknown, private or silent gives one and the same message, so that nobody can explore a network with it.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

import httpx2

from app import __version__
from app.errors import BadRequestError

MAX_REDIRECTS = 3
MAX_ADDRESSES = 3
"""How many addresses of one host are tried."""

UNREACHABLE = (
    "its host is unknown, private or does not answer, or has no valid certificate (whoever runs this server can open "
    "private hosts with REMOTE_FETCH_ALLOW)"
)


class Subject(NamedTuple):
    """What is fetched, for headers and messages."""

    name: str
    accept: str
    media_type: str
    code: str
    """Of the errors."""


PICTURE = Subject("picture", "image/*", "image/png", "invalid_image_url")
DOCUMENT = Subject("document", "application/pdf, text/*;q=0.9, */*;q=0.8", "application/pdf", "invalid_document_url")

# The registries of special-purpose addresses: https://www.iana.org/assignments/iana-ipv4-special-registry and
# https://www.iana.org/assignments/iana-ipv6-special-registry. Not `is_global`, which differs between Python versions.
SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's own services, inside each of its machines
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
GLOBAL_IPV6 = IPv6Network("2000::/3")
SPECIAL_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols, Teredo among them
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "3fff::/20",
        ),
    )
)
EMBEDDED_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""IPv4-mapped and NAT64: other spellings of the IPv4 address in the last 32 bits."""

Lookup = Callable[[str], Sequence[str]]


def lookup(host: str) -> list[str]:
    """The addresses of a host, as the system finds them. Blocks. Raises OSError or UnicodeError if there are none."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in SPECIAL_IPV4)
    return address in GLOBAL_IPV6 and not any(address in network for network in SPECIAL_IPV6)


class Guard:
    """Which hosts may be fetched from: the public ones, and those that are wanted although private.

    `allow` holds host names (`nas.lan`), their parents (`.lan`: every host below), addresses and networks
    (`192.168.1.0/24`). Raises ValueError for anything else.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._hosts: set[str] = set()
        self._parents: tuple[str, ...] = ()
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in allow:
            self._add(entry.strip().lower().rstrip("."))

    def _add(self, entry: str) -> None:
        try:
            self._networks.append(ip_network(entry, strict=False))
        except ValueError:
            if not re.fullmatch(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*", entry):
                raise ValueError(f"REMOTE_FETCH_ALLOW: {entry!r} is not a host, an address or a network.") from None
            if entry.startswith("."):
                self._parents += (entry,)
            else:
                self._hosts.add(entry)

    def permits(self, host: str, address: str) -> bool:
        """Whether a connection to `address` is fine, if that is where `host` leads."""
        if host in self._hosts or host.endswith(self._parents):
            return True
        end = _end(address)
        return is_public(end) or any(end in network for network in self._networks)


def _end(address: str) -> IPv4Address | IPv6Address:
    parsed = ip_address(address.partition("%")[0])
    if any(parsed in network for network in EMBEDDED_IPV4):
        return IPv4Address(int(parsed) & 0xFFFFFFFF)
    return parsed


class _Refusal(Exception):  # noqa: N818 - the reason of a BadRequestError, on its way to it
    pass


class RemoteFetcher:
    """Fetches pictures, or files of another `subject`, safely.

    `allow` is read by Guard; `lookup` finds the addresses of a host (it may block); `tls` verifies servers, by
    default against the system's certificates.
    """

    def __init__(
        self,
        *,
        is_enabled: bool = True,
        allow: Iterable[str] = (),
        max_bytes: int = 20 * 2**20,
        timeout_seconds: float = 15,
        subject: Subject = PICTURE,
        lookup: Lookup = lookup,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._is_enabled = is_enabled
        self._guard = Guard(allow)
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._subject = subject
        self._lookup = lookup
        self._given_tls = tls
        # Its own threads: slow name servers of a caller's choice must not hold up the lookups of everybody else.
        self._threads = ThreadPoolExecutor(8, "remote-lookup")

    async def fetch(self, url: str, *, param: str | None = None) -> bytes:
        """The bytes at an address, whatever they are. Raises BadRequestError, with `param`, if there are none."""
        if not self._is_enabled:
            name, media_type = self._subject.name, self._subject.media_type
            raise BadRequestError(
                f"{name.capitalize()}s given by their address are switched off on this server. Send the {name} itself, "
                f"as a data URI: data:{media_type};base64,...",
                param=param,
                code=self._subject.code,
            )
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._follow(url)
        except _Refusal as refusal:
            raise self._failure(str(refusal), param) from refusal
        except TimeoutError as slow:
            raise self._failure(f"it took longer than {self._timeout_seconds:g} seconds", param) from slow
        except httpx2.HTTPError as broken:
            raise self._failure("its server broke off or gave no proper answer", param) from broken

    def _failure(self, reason: str, param: str | None) -> BadRequestError:
        message = f"The {self._subject.name} could not be fetched: {reason}."
        return BadRequestError(message, param=param, code=self._subject.code)

    async def _follow(self, url: str) -> bytes:
        target = _to_target(url)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._open(target) as response:
                if not response.has_redirect_location:
                    return await self._read(response)
                target = _redirected(target, response.headers["location"])
        raise _Refusal(f"there are more than {MAX_REDIRECTS} redirects")

    @asynccontextmanager
    async def _open(self, target: httpx2.URL) -> AsyncIterator[httpx2.Response]:
        """A response whose body is still to come.

        Each has a transport of its own: a pool tells connections apart by address and port, and would lend one that
        was verified for a name to another name at the same address.
        """
        addresses = await self._addresses(target.raw_host.decode("ascii"))
        async with httpx2.AsyncHTTPTransport(verify=await self._tls(), trust_env=False) as transport:
            response = await self._connect(transport, target, addresses)
            try:
                yield response
            finally:
                await response.aclose()

    async def _addresses(self, host: str) -> Sequence[str]:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host)
        except (OSError, UnicodeError) as failure:
            raise _Refusal(UNREACHABLE) from failure
        if not all(self._guard.permits(host, address) for address in found):
            raise _Refusal(UNREACHABLE)
        return found[:MAX_ADDRESSES]

    async def _tls(self) -> ssl.SSLContext:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: self._verifier)

    @cached_property
    def _verifier(self) -> ssl.SSLContext:
        return self._given_tls or httpx2.create_ssl_context(trust_env=False)  # reads files for 50 ms

    async def _connect(
        self, transport: httpx2.AsyncHTTPTransport, target: httpx2.URL, addresses: Sequence[str]
    ) -> httpx2.Response:
        extensions = {
            "sni_hostname": target.raw_host.decode("ascii"),
            "timeout": {"connect": self._timeout_seconds / MAX_ADDRESSES},
        }
        for address in addresses:
            request = httpx2.Request(
                "GET",
                target.copy_with(host=address),
                headers={
                    "host": target.netloc.decode("ascii"),
                    "accept": self._subject.accept,
                    "accept-encoding": "identity",  # most are compressed already, and a small answer stays small
                    "user-agent": f"Flarelay/{__version__} (a {self._subject.name} in a user's request)",
                    "connection": "close",
                },
                extensions=extensions,
            )
            try:
                return await transport.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        raise _Refusal(UNREACHABLE)

    async def _read(self, response: httpx2.Response) -> bytes:
        if not response.is_success:
            raise _Refusal(f"its server answered with status {response.status_code}")
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > self._max_bytes:
                raise _Refusal(f"it is larger than {self._max_bytes:,} bytes")
        return bytes(body)


def _to_target(url: str | httpx2.URL) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as failure:
        raise _Refusal("its address is not a valid URL") from failure
    host = parsed.raw_host.decode("ascii").rstrip(".")  # the dot of a full name is in no certificate and no `Host`
    if parsed.scheme not in ("http", "https") or not host:
        raise _Refusal("only http and https addresses can be fetched")
    if parsed.userinfo:
        raise _Refusal("its address holds a user name or password")
    if parsed.port not in (None, 80, 443) and not 1023 < parsed.port < 65536:
        raise _Refusal("only the ports 80, 443 and above 1023 can be reached")
    return parsed.copy_with(host=host)


def _redirected(target: httpx2.URL, location: str) -> httpx2.URL:
    try:
        following = _to_target(target.join(location))
    except httpx2.InvalidURL as failure:
        raise _Refusal("its server redirects to an address that is not a valid URL") from failure
    if target.scheme == "https" and following.scheme == "http":
        raise _Refusal("its server redirects from https to http")
    return following
