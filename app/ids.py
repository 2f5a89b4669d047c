"""Ids of requests and answers: 24 hexadecimal digits that no two processes make alike. Nobody is kept out by them."""

from random import Random

_random = Random()  # noqa: S311 - seeded by the system, and a tenth of the price of asking it each time


def new_id() -> str:
    return _random.randbytes(12).hex()
