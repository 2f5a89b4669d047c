"""Forms, read again by the standard library."""

from email import message_from_bytes
from email.message import Message

from hypothesis import given
from hypothesis import strategies as st

from app.translators.forms import Part, to_form


def test_a_form_is_framed_as_the_standard_has_it() -> None:
    body, content_type = to_form([Part("prompt", b"a\r\nfox"), Part("f", b"\x00", "f.png", "image/png")], "abc")
    boundary = content_type.removeprefix("multipart/form-data; boundary=")
    assert body.decode() == (
        f'--{boundary}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na\r\nfox\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="f.png"\r\n'
        f"Content-Type: image/png\r\n\r\n\x00\r\n--{boundary}--\r\n"
    )


def test_the_boundary_follows_from_the_root_and_is_in_no_part() -> None:
    _, first = to_form([], "abc")
    assert to_form([], "abc")[1] == first != to_form([], "abd")[1]
    boundary = first.partition("=")[2].encode()
    body, second = to_form([Part("a", b"--" + boundary)], "abc")
    assert second != first
    assert body.count(second.partition("=")[2].encode()) == 2


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", min_codepoint=33), max_size=30), min_size=1, max_size=5))
def test_what_goes_in_comes_out(texts: list[str]) -> None:
    body, content_type = to_form([Part(f"f{i}", text.encode()) for i, text in enumerate(texts)], "abc")
    message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts: list[Message] = [part for part in message.walk() if not part.is_multipart()]
    assert [part.get_param("name", header="Content-Disposition") for part in parts] == [
        f"f{i}" for i in range(len(texts))
    ]
    assert [part.get_payload(decode=True) for part in parts] == [text.encode() for text in texts]
