from typing import Any

import pytest

from app.routes.origin import base_url


def scope(headers: dict[str, str], server: tuple[str, int | None] | None = ("10.0.0.1", 8000)) -> dict[str, Any]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "scheme": "http", "server": server, "headers": raw}


FORWARDED = {"host": "inside:8000", "x_forwarded_proto": "https", "x_forwarded_host": "example.com"}


def test_a_setting_comes_before_everything() -> None:
    url = base_url(scope(FORWARDED), public_base_url="https://pics.example/ai/", trusted_hops=True)
    assert url == "https://pics.example/ai"


@pytest.mark.parametrize(
    "host",
    ["example.com", "example.com:8443", "flarelay_1:8000", "192.0.2.1:80", "[2001:db8::1]", "[::1]:8000", "a:65535"],
)
def test_the_request_tells_its_host(host: str) -> None:
    assert base_url(scope({"host": host}), public_base_url=None, trusted_hops=False) == f"http://{host}"


@pytest.mark.parametrize(
    "host",
    [
        "", " ", "a b", "a/b", "user@a", "a?b", "a#b", "a\\b", "a,b", 'a"b', "a:", ":80", "a:b", "a:65536", "a:123456",
        "a:80\n", "[::1", "::1", "[evil]", "é.example", "a" * 254, "<script>", "a:٣", "https://a",
    ],
)  # fmt: skip
def test_a_host_that_can_not_be_is_passed_over(host: str) -> None:
    assert base_url(scope({"host": host}), public_base_url="", trusted_hops=False) == "http://10.0.0.1:8000"


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (("127.0.0.1", 80), "http://127.0.0.1:80"),
        (("::1", 8000), "http://[::1]:8000"),
        (("/run/flarelay.sock", None), "http://localhost"),
        (None, "http://localhost"),
    ],
)
def test_without_a_host_it_is_where_the_connection_arrived(server: tuple[str, int | None] | None, url: str) -> None:
    assert base_url(scope({}, server), public_base_url=None, trusted_hops=False) == url


@pytest.mark.parametrize(
    ("headers", "trusted", "untrusted"),
    [
        (FORWARDED, "https://example.com", "http://inside:8000"),
        ({"host": "inside", "x_forwarded_proto": "HTTPS, http"}, "https://inside", "http://inside"),
        ({"host": "inside", "x_forwarded_proto": "javascript"}, "http://inside", "http://inside"),
        ({"host": "inside", "x_forwarded_host": "a.example:1, b.example"}, "http://a.example:1", "http://inside"),
        ({"host": "inside", "x_forwarded_host": "a/b"}, "http://inside", "http://inside"),
        ({"host": "inside"}, "http://inside", "http://inside"),
    ],
)
def test_hops_are_believed_only_if_trusted(headers: dict[str, str], trusted: str, untrusted: str) -> None:
    assert base_url(scope(headers), public_base_url=None, trusted_hops=True) == trusted
    assert base_url(scope(headers), public_base_url=None, trusted_hops=False) == untrusted
