"""Does a sound file go on to where it says that it ends? FFmpeg plays what is there and tells nobody.

MP3 has no end mark, and a FLAC file tells its length in samples, which takes decoding it.
"""

OPEN_LENGTHS = range(0x7FFF0000, 2**32)
"""In the header of a WAV file: its length was not known when it began. 0 says the same."""
MISSING_BYTES = 8
"""Of a WAV file may be missing: some programs count the padding, or a chunk's header."""

OGG_HEADER_BYTES = 27
OGG_LAST_PAGE = 0x04
ADTS_HEADER_BYTES = 7


def is_whole(data: bytes) -> bool:
    """False for WAV, Ogg, MP4 and ADTS that break off; True for all else, known or not."""
    if data[:4] == b"RIFF":
        return _is_whole_wav(data)
    if data[:4] == b"OggS":
        return _is_whole_ogg(data)
    if data[4:8] == b"ftyp":
        return _is_whole_mp4(data)
    if _is_adts(data, 0):
        return _is_whole_adts(data)
    return True


def _is_whole_wav(data: bytes) -> bool:
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            return not length or length in OPEN_LENGTHS or at + 8 + length <= len(data) + MISSING_BYTES
        at += 8 + length + length % 2
    return False


def _is_whole_ogg(data: bytes) -> bool:
    """RFC 3533: the last page has a mark. Its length is the sum of its segments'."""
    page = data[data.rfind(b"OggS") :]
    if len(page) < OGG_HEADER_BYTES or not page[5] & OGG_LAST_PAGE:
        return False
    body = OGG_HEADER_BYTES + page[26]
    return body <= len(page) and body + sum(page[OGG_HEADER_BYTES:body]) <= len(page)


def _is_whole_mp4(data: bytes) -> bool:
    """ISO/IEC 14496-12: boxes, whose length of 1 stands for a longer number behind the name, and 0 for all the rest."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length == 0:
            return True
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        at += max(length, 8)
    return at == len(data)


def _is_whole_adts(data: bytes) -> bool:
    at = 0
    while _is_adts(data, at):
        if at + ADTS_HEADER_BYTES > len(data):
            return False
        at += max(int.from_bytes(data[at + 3 : at + 6], "big") >> 5 & 0x1FFF, ADTS_HEADER_BYTES)
    return at <= len(data)


def _is_adts(data: bytes, at: int) -> bool:
    """Twelve bits of ones, and a layer of 0, which MP3 never has."""
    return data[at : at + 1] == b"\xff" and (data[at + 1 : at + 2] or b"\xff")[0] & 0xF6 == 0xF0
