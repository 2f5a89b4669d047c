"""PictureLoader: whatever a caller names a picture by -> the data URI that a model reads."""

from functools import partial

from anyio import CapacityLimiter, to_thread

from app.errors import BadRequestError
from app.media.pictures import from_data_uri, sniff, to_data_uri
from app.media.remote import RemoteFetcher


class PictureLoader:
    """Fetches and converts pictures, a few at once: that bounds the memory, whatever comes in."""

    def __init__(self, fetcher: RemoteFetcher, *, fetches_at_once: int = 8, decodes_at_once: int = 2) -> None:
        self._fetcher = fetcher
        self._fetches = CapacityLimiter(fetches_at_once)
        self._decodes = CapacityLimiter(decodes_at_once)

    async def load(self, url: str, *, max_side: int, param: str | None = None) -> str:
        """A checked `data:` URI of PNG or JPEG, no side longer than `max_side` pixels.

        `url` is an http(s) address, a data URI, or the bare base64 of a picture. Raises BadRequestError.
        """
        url = url.strip()
        if url[:8].lower().startswith(("http://", "https://")):
            async with self._fetches:
                data = await self._fetcher.fetch(url, param=param)
            convert = partial(to_data_uri, data, max_side=max_side, param=param)
        else:
            convert = partial(_inline_to_data_uri, url, max_side=max_side, param=param)
        return await to_thread.run_sync(convert, limiter=self._decodes)


def _inline_to_data_uri(text: str, *, max_side: int, param: str | None) -> str:
    data = from_data_uri(text, param=param) if text[:5].lower() == "data:" else _from_bare_base64(text, param)
    return to_data_uri(data, max_side=max_side, param=param)


def _from_bare_base64(text: str, param: str | None) -> bytes:
    """Some clients leave out `data:image/png;base64,`. What is no base64 of a picture was meant to be an address."""
    try:
        data = from_data_uri(f"data:;base64,{text}")
    except BadRequestError:
        data = b""
    if sniff(data) is None:
        raise BadRequestError(
            "A picture must be given by an http(s) address or as a data URI (data:image/png;base64,...).",
            param=param,
            code="invalid_image_url",
        )
    return data
