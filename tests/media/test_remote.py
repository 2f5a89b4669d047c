"""The guarded fetch: what it reaches, what it refuses, and what it says about it. Over real sockets on loopback."""

import asyncio
import ssl
import threading
from ipaddress import ip_address
from pathlib import Path

import pytest

from app import __version__
from app.errors import BadRequestError
from app.media.remote import UNREACHABLE, Guard, RemoteFetcher, is_public
from tests.media.web import Names, Page, Web, open_web, page, redirect

pytestmark = pytest.mark.anyio

LOOPBACK = ("127.0.0.0/8",)
CERTIFICATE = Path(__file__).with_name("pictures.example.pem")
"""Made for these tests: a key, and a certificate for `pictures.example` that it signed itself, valid to 2120."""

PRIVATE = [
    "0.0.0.0",  # noqa: S104 - the address a caller may try, not one to listen on
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",  # metadata at Alibaba
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",  # Azure's services
    "169.254.0.1",
    "169.254.169.254",  # metadata nearly everywhere
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",  # metadata at Oracle
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",  # 127.0.0.1, IPv4-compatible
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:0:7f00:1",  # IPv4-translated
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1",
    "64:ff9b::192.168.1.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
    "2001:0:7f00:1::",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "2002:c0a8:101::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # metadata at AWS
    "fdff:ffff::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
]


async def refusal(fetcher: RemoteFetcher, url: str) -> str:
    """The reason in the error for a URL, and a check of everything around it."""
    with pytest.raises(BadRequestError) as caught:
        await fetcher.fetch(url, param="messages[0].content[1].image_url.url")
    error = caught.value
    assert (error.status, error.code) == (400, "invalid_image_url")
    assert error.param == "messages[0].content[1].image_url.url"
    begin = "The picture could not be fetched: "
    assert error.message.startswith(begin)
    assert error.message.endswith(".")
    return error.message[len(begin) : -1]


# Which addresses


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_private_address_is_never_connected_to(address: str) -> None:
    fetcher = RemoteFetcher(lookup=Names({"pictures.example": [address]}))

    assert await refusal(fetcher, "http://pictures.example/cat.png") == UNREACHABLE


@pytest.mark.parametrize("address", PRIVATE)
async def test_one_private_address_among_public_ones_is_enough_to_refuse(address: str) -> None:
    fetcher = RemoteFetcher(lookup=Names({"pictures.example": ["8.8.8.8", address]}))

    assert await refusal(fetcher, "http://pictures.example/cat.png") == UNREACHABLE


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_permitted(address: str) -> None:
    assert Guard().permits("pictures.example", address)


@pytest.mark.parametrize(("address", "expected"), [("8.8.8.8", True), ("10.1.1.1", False), ("2002:808:808::", False)])
def test_is_public_judges_an_address_by_itself(address: str, expected: bool) -> None:
    assert is_public(ip_address(address)) is expected


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "１２７.0.0.1",  # digits of full width
    ],
)
async def test_a_private_address_is_recognised_however_it_is_spelt(web: Web, host: str) -> None:
    web.pages["/"] = page(b"secret")

    reason = await refusal(RemoteFetcher(), web.url(host=host))

    assert reason in (UNREACHABLE, "its address is not a valid URL")
    assert web.requests == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost.", "127.0.0.1."]
)
async def test_what_the_settings_allow_is_fetched_however_it_is_spelt(web: Web, host: str) -> None:
    web.pages["/"] = page(b"wanted")

    assert await RemoteFetcher(allow=("127.0.0.1", "::1")).fetch(web.url(host=host)) == b"wanted"


@pytest.mark.parametrize(
    ("allow", "host", "address", "expected"),
    [
        ("nas.lan", "nas.lan", "192.168.1.5", True),
        ("NAS.lan.", "nas.lan", "192.168.1.5", True),
        ("nas.lan", "other.lan", "192.168.1.5", False),
        ("nas.lan", "my.nas.lan", "192.168.1.5", False),
        ("nas.lan", "nas.lan.evil.example", "192.168.1.5", False),
        (".lan", "nas.lan", "192.168.1.5", True),
        (".lan", "a.b.lan", "fd00::5", True),
        (".lan", "lan", "192.168.1.5", False),
        (".lan", "evillan", "192.168.1.5", False),
        ("my_nas", "my_nas", "10.0.0.5", True),
        ("192.168.1.5", "nas.lan", "192.168.1.5", True),
        ("192.168.1.5", "nas.lan", "192.168.1.6", False),
        ("192.168.1.5", "nas.lan", "::ffff:192.168.1.5", True),
        ("192.168.1.0/24", "nas.lan", "192.168.1.255", True),
        ("192.168.1.7/24", "nas.lan", "192.168.1.255", True),
        ("192.168.1.0/24", "nas.lan", "192.168.2.1", False),
        ("fd00::/8", "nas.lan", "fd12::1", True),
        ("fd00::/8", "nas.lan", "fe80::1", False),
        ("192.168.1.0/24", "nas.lan", "fd12::1", False),
        ("192.168.1.0/24", "pictures.example", "8.8.8.8", True),
    ],
)
def test_the_settings_open_hosts_and_networks(allow: str, host: str, address: str, expected: bool) -> None:
    assert Guard([allow]).permits(host, address) is expected


@pytest.mark.parametrize(
    "entry", ["", ".", "192.168.1.0/33", "http://nas.lan", "nas.lan:8080", "nas.lan/pictures", "*.lan", "a b", "ünas"]
)
def test_a_setting_that_could_never_match_is_refused_at_the_start(entry: str) -> None:
    with pytest.raises(ValueError, match=r"REMOTE_FETCH_ALLOW: .* is not a host, an address or a network"):
        RemoteFetcher(allow=(entry,))


async def test_a_host_is_looked_up_once_and_connected_to_where_that_led(web: Web) -> None:
    web.pages["/cat.png"] = page(b"picture")
    names = Names({"pictures.example": ["127.0.0.1"]}, {"pictures.example": ["10.0.0.1"]})

    assert (
        await RemoteFetcher(allow=LOOPBACK, lookup=names).fetch(web.url("/cat.png", "pictures.example")) == b"picture"
    )
    assert names.asked == ["pictures.example"]


async def test_a_redirect_to_the_same_host_is_looked_up_and_checked_again(web: Web) -> None:
    web.pages["/"] = redirect("/again")
    web.pages["/again"] = page(b"secret")
    names = Names({"pictures.example": ["127.0.0.1"]}, {"pictures.example": ["10.0.0.1"]})

    reason = await refusal(RemoteFetcher(allow=LOOPBACK, lookup=names), web.url("/", "pictures.example"))

    assert reason == UNREACHABLE
    assert len(web.requests) == 1


async def test_the_next_address_is_tried_where_the_first_does_not_answer(web: Web) -> None:
    web.pages["/"] = page(b"picture")
    names = Names({"pictures.example": ["127.0.0.2", "127.0.0.1"]})

    assert await RemoteFetcher(allow=LOOPBACK, lookup=names).fetch(web.url(host="pictures.example")) == b"picture"


async def test_a_host_with_many_addresses_is_tried_at_three_of_them(web: Web) -> None:
    names = Names({"pictures.example": ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"]})

    assert await refusal(RemoteFetcher(allow=LOOPBACK, lookup=names), web.url(host="pictures.example")) == UNREACHABLE
    assert web.requests == []


# One message for everything private


async def test_unknown_private_and_silent_hosts_are_told_apart_by_nobody(web: Web) -> None:
    names = Names({"closed.example": ["127.0.0.2"], "private.example": ["10.0.0.1"], "empty.example": []})
    fetcher = RemoteFetcher(allow=LOOPBACK, lookup=names)

    reasons = [await refusal(fetcher, web.url(host=host)) for host in [*names.answers[0], "unknown.example"]]

    assert reasons == [UNREACHABLE] * 4


async def test_a_name_that_no_resolver_takes_is_an_unknown_host() -> None:
    assert await refusal(RemoteFetcher(), f"http://{'a' * 70}.example/") == UNREACHABLE


# Which URLs


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://pictures.example/cat.png", "only http and https addresses can be fetched"),
        ("file:///etc/passwd", "only http and https addresses can be fetched"),
        ("gopher://127.0.0.1:6379/_INFO", "only http and https addresses can be fetched"),
        ("/cat.png", "only http and https addresses can be fetched"),
        ("", "only http and https addresses can be fetched"),
        ("http://", "only http and https addresses can be fetched"),
        ("http:///cat.png", "only http and https addresses can be fetched"),
        ("http://./", "only http and https addresses can be fetched"),
        ("http://me@pictures.example/", "its address holds a user name or password"),
        ("http://me:secret@pictures.example/", "its address holds a user name or password"),
        ("http://8.8.8.8:80@127.0.0.1/", "its address holds a user name or password"),
        ("http://pictures.example:0/", "only the ports 80, 443 and above 1023 can be reached"),
        ("http://pictures.example:22/", "only the ports 80, 443 and above 1023 can be reached"),
        ("http://pictures.example:25/", "only the ports 80, 443 and above 1023 can be reached"),
        ("http://pictures.example:1023/", "only the ports 80, 443 and above 1023 can be reached"),
        ("http://pictures.example:65536/", "only the ports 80, 443 and above 1023 can be reached"),
        ("http://pictures.example:eighty/", "its address is not a valid URL"),
        ("http://pictures.example/\r\nx-injected: 1", "its address is not a valid URL"),
        ("http://[pictures.example]/", "its address is not a valid URL"),
        ("http://\ud800.example/", "its address is not a valid URL"),
    ],
)
async def test_a_url_that_is_no_address_of_a_picture_is_refused_unasked(url: str, reason: str) -> None:
    names = Names({"pictures.example": ["127.0.0.1"]})

    assert await refusal(RemoteFetcher(allow=LOOPBACK, lookup=names), url) == reason
    assert names.asked == []


@pytest.mark.parametrize("port", [80, 443, 1024, 65535])
async def test_a_port_that_web_servers_use_passes(port: int) -> None:
    names = Names({})

    assert await refusal(RemoteFetcher(lookup=names), f"http://pictures.example:{port}/") == UNREACHABLE
    assert names.asked == ["pictures.example"]


async def test_switched_off_it_says_what_works_instead(web: Web) -> None:
    with pytest.raises(BadRequestError, match=r"switched off .* data:image/png;base64") as caught:
        await RemoteFetcher(is_enabled=False, allow=LOOPBACK).fetch(web.url(), param="image")

    assert (caught.value.param, caught.value.code) == ("image", "invalid_image_url")
    assert web.requests == []


# The request


async def test_the_request_says_who_asks_for_what_and_carries_nothing_else(web: Web) -> None:
    web.pages["/a%20cat.png?size=2"] = page(b"picture", set_cookie="visitor=1")
    fetcher = RemoteFetcher(allow=LOOPBACK, lookup=Names({"pictures.example": ["127.0.0.1"]}))

    for _ in range(2):
        assert await fetcher.fetch(web.url("/a cat.png?size=2#left", "Pictures.Example.")) == b"picture"

    expected = (
        "GET /a%20cat.png?size=2 HTTP/1.1\r\n"
        f"host: pictures.example:{web.port}\r\n"
        "accept: image/*\r\n"
        "accept-encoding: identity\r\n"
        f"user-agent: Flarelay/{__version__} (a picture in a user's request)\r\n"
        "connection: close\r\n\r\n"
    )
    assert web.requests == [expected, expected]


async def test_the_environments_proxy_is_not_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    web.pages["/"] = page(b"picture")

    assert await RemoteFetcher(allow=LOOPBACK).fetch(web.url()) == b"picture"


async def test_a_compressed_answer_is_left_compressed(web: Web) -> None:
    web.pages["/"] = page(b"\x1f\x8bnever inflated", content_encoding="gzip")

    assert await RemoteFetcher(allow=LOOPBACK).fetch(web.url()) == b"\x1f\x8bnever inflated"


# Redirects


@pytest.mark.parametrize(
    "status",
    ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"],
)
async def test_a_redirect_is_followed(web: Web, status: str) -> None:
    web.pages["/deep/old"] = redirect("../new?a=b", status)
    web.pages["/new?a=b"] = page(b"picture")

    assert await RemoteFetcher(allow=LOOPBACK).fetch(web.url("/deep/old")) == b"picture"


async def test_the_third_redirect_is_followed_and_the_fourth_is_not(web: Web) -> None:
    web.pages |= {f"/{left}": redirect(f"/{left - 1}") for left in range(1, 5)} | {"/0": page(b"picture")}
    fetcher = RemoteFetcher(allow=LOOPBACK)

    assert await fetcher.fetch(web.url("/3")) == b"picture"
    assert await refusal(fetcher, web.url("/4")) == "there are more than 3 redirects"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data/", UNREACHABLE),
        ("http://[::ffff:10.0.0.1]/", UNREACHABLE),
        ("//10.0.0.1:8080/", UNREACHABLE),
        ("file:///etc/passwd", "only http and https addresses can be fetched"),
        ("http://me:secret@8.8.8.8/", "its address holds a user name or password"),
        ("http://8.8.8.8:25/", "only the ports 80, 443 and above 1023 can be reached"),
        ("http://8.8.8.8:x/", "its server redirects to an address that is not a valid URL"),
    ],
)
async def test_a_redirect_is_checked_like_a_first_address(web: Web, location: str, reason: str) -> None:
    web.pages["/"] = redirect(location)

    assert await refusal(RemoteFetcher(allow=("127.0.0.1",)), web.url()) == reason


async def test_a_redirect_without_a_location_is_no_answer(web: Web) -> None:
    web.pages["/"] = page(b"", "302 Found")

    assert await refusal(RemoteFetcher(allow=LOOPBACK), web.url()) == "its server answered with status 302"


# Answers


@pytest.mark.parametrize("status", ["304 Not Modified", "401 Unauthorized", "404 Not Found", "500 Oh no"])
async def test_the_status_of_a_failure_is_passed_on(web: Web, status: str) -> None:
    web.pages["/"] = page(b"", status)

    assert await refusal(RemoteFetcher(allow=LOOPBACK), web.url()) == f"its server answered with status {status[:3]}"


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(web: Web) -> None:
    web.pages |= {"/fits": page(b"x" * 1000), "/over": page(b"x" * 1001)}
    fetcher = RemoteFetcher(allow=LOOPBACK, max_bytes=1000)

    assert await fetcher.fetch(web.url("/fits")) == b"x" * 1000
    assert await refusal(fetcher, web.url("/over")) == "it is larger than 1,000 bytes"


async def test_an_endless_body_is_left_at_the_limit(web: Web) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            await writer.drain()

    web.pages["/"] = endless

    assert (
        await refusal(RemoteFetcher(allow=LOOPBACK, max_bytes=100_000), web.url()) == "it is larger than 100,000 bytes"
    )


async def test_what_follows_the_announced_length_is_not_read(web: Web) -> None:
    web.pages["/"] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfour and more"

    assert await RemoteFetcher(allow=LOOPBACK, max_bytes=4).fetch(web.url()) == b"four"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"",
    ],
    ids=["longer than it is", "negative", "cut off", "not HTTP", "nothing"],
)
async def test_an_answer_that_breaks_off_is_refused(web: Web, answer: bytes) -> None:
    web.pages["/"] = answer

    assert await refusal(RemoteFetcher(allow=LOOPBACK), web.url()) == "its server broke off or gave no proper answer"


# Time


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("behaviour", [silent, dripping])
async def test_a_slow_server_is_left_after_the_time_limit(web: Web, behaviour: Page) -> None:
    web.pages["/"] = behaviour

    assert (
        await refusal(RemoteFetcher(allow=LOOPBACK, timeout_seconds=0.2), web.url())
        == "it took longer than 0.2 seconds"
    )


async def test_redirects_share_the_time_limit(web: Web) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(redirect("/"))

    web.pages["/"] = slow

    assert (
        await refusal(RemoteFetcher(allow=LOOPBACK, timeout_seconds=0.3), web.url())
        == "it took longer than 0.3 seconds"
    )


async def test_a_slow_name_server_counts_against_the_time_limit() -> None:
    answered = threading.Event()

    def lookup(host: str) -> list[str]:
        answered.wait(10)
        return []

    try:
        reason = await refusal(RemoteFetcher(lookup=lookup, timeout_seconds=0.1), "http://pictures.example/")
    finally:
        answered.set()

    assert reason == "it took longer than 0.1 seconds"


# TLS


def serving() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


async def test_tls_is_verified_for_the_name_at_the_checked_address() -> None:
    names = Names({"pictures.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    fetcher = RemoteFetcher(allow=LOOPBACK, lookup=names, tls=trusting())
    context = serving()
    asked_for: list[str | None] = []
    context.sni_callback = lambda connection, name, own: asked_for.append(name)

    async with open_web(context) as web:
        web.pages["/"] = page(b"picture")
        assert await fetcher.fetch(web.url(host="pictures.example.")) == b"picture"
        assert await refusal(fetcher, web.url(host="other.example")) == UNREACHABLE
        assert await refusal(fetcher, web.url(host="127.0.0.1")) == UNREACHABLE

    assert asked_for == ["pictures.example", "other.example"]  # an address is verified, but never named
    assert len(web.requests) == 1
    assert f"host: pictures.example:{web.port}\r\n" in web.requests[0]


async def test_a_certificate_that_the_system_does_not_trust_is_refused() -> None:
    fetcher = RemoteFetcher(allow=LOOPBACK, lookup=Names({"pictures.example": ["127.0.0.1"]}))

    async with open_web(serving()) as web:
        assert await refusal(fetcher, web.url(host="pictures.example")) == UNREACHABLE

    assert web.requests == []


async def test_a_redirect_from_https_to_http_is_refused(web: Web) -> None:
    names = Names({"pictures.example": ["127.0.0.1"]})
    fetcher = RemoteFetcher(allow=LOOPBACK, lookup=names, tls=trusting())
    web.pages["/"] = page(b"picture")

    async with open_web(serving()) as secure:
        secure.pages["/down"] = redirect(web.url())
        secure.pages["/on"] = redirect(secure.url("/cat.png", "pictures.example"))
        secure.pages["/cat.png"] = page(b"picture")
        web.pages["/up"] = redirect(secure.url("/cat.png", "pictures.example"))
        reason = await refusal(fetcher, secure.url("/down", "pictures.example"))
        assert await fetcher.fetch(secure.url("/on", "pictures.example")) == b"picture"
        assert await fetcher.fetch(web.url("/up", "pictures.example")) == b"picture"

    assert reason == "its server redirects from https to http"
