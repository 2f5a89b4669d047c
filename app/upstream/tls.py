"""TLS as the transport speaks it: certificates verified, HTTP/1.1 chosen by ALPN, sessions taken up again.

Neither asyncio nor uvloop take a session to resume, so the TLS objects that they make find it themselves.
"""

import ssl
from typing import ClassVar

import httpx2


class Resuming(ssl.SSLObject):
    """One side of a TLS connection that takes up the last session with its host.

    That spares the server its signature and us the check of its certificates; before TLS 1.3 a round trip, too. Nobody
    verifies the host once more, so a session is kept by the name that was verified.
    """

    sessions: ClassVar[dict[str | None, ssl.SSLSession]]
    """By host; of one context each, to which OpenSSL ties them."""
    _has_begun = False

    def do_handshake(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            session = self.sessions.get(self.server_hostname)
            if session is not None:
                self.session = session
        super().do_handshake()

    def keep(self) -> None:
        """To be called when first bytes have come: TLS 1.3 has no session before. One that was resumed is kept on."""
        session = None if self.session_reused else self.session
        if session is not None:
            self.sessions[self.server_hostname] = session


def resuming(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, whose connections are from now on `Resuming`."""
    context.sslobject_class = type("Resuming", (Resuming,), {"sessions": {}})
    return context


def default_context() -> ssl.SSLContext:
    """Trusts whom httpx trusts. Takes milliseconds: it reads the certificates."""
    context = httpx2.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return resuming(context)
