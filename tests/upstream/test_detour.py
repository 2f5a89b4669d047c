"""Detour: gateways that are down are left alone for a while."""

from app.upstream.detour import MOST_KEPT, REST_SECONDS, Detour


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_gateway_is_gone_past_until_one_call_has_seen_how_it_is() -> None:
    clock = Clock()
    detour = Detour(now=clock)
    assert not detour.is_taken("a")
    detour.begin("a")
    assert (detour.is_taken("a"), detour.is_taken("b")) == (True, False)
    clock.seconds += REST_SECONDS - 0.1
    assert detour.is_taken("a")
    clock.seconds += 0.1
    assert [detour.is_taken("a") for _ in range(3)] == [False, True, True]
    clock.seconds += REST_SECONDS
    assert [detour.is_taken("a") for _ in range(2)] == [False, True]
    detour.end("a")
    detour.end("a")
    assert not detour.is_taken("a")


def test_of_made_up_accounts_only_so_many_are_remembered() -> None:
    detour = Detour()
    for number in range(MOST_KEPT + 1):
        detour.begin(str(number))
    detour.begin("1")
    detour.begin("new")
    assert [detour.is_taken(name) for name in ("0", "1", "2", "new")] == [False, True, False, True]
