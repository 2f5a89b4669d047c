"""Ids of calls, as they come and as they are sent."""

from app.translators.call_ids import CallIds, Made


def made(ids: CallIds, *given: str) -> list[str]:
    return ids.made([Made(each, "look") for each in given])


def test_every_call_has_its_own_id() -> None:
    ids = CallIds()
    assert made(ids, "a", "b") == ["a", "b"]
    assert made(ids, "a", "a_2", "a") == ["a_2", "a_2_2", "a_3"]
    assert made(ids, "a") == ["a_4"]


def test_results_follow_the_order_of_the_calls_of_their_turn() -> None:
    ids = CallIds()
    made(ids, "a", "a", "b")
    assert [ids.answered(each) for each in "abaa"] == ["a", "b", "a_2", "a_2"]
    made(ids, "a")
    assert ids.answered("a") == "a_3"
    assert ids.answered("b") == "b"


def test_calls_that_a_turn_left_behind_wait_no_longer() -> None:
    ids = CallIds()
    made(ids, "a", "a")
    made(ids, "a")
    assert [ids.answered("a"), ids.answered("a")] == ["a_3", "a_3"]


def test_a_result_may_tell_a_name_only() -> None:
    ids = CallIds()
    ids.made([Made("a", "look"), Made("b", "find"), Made("c", "look")])
    assert [ids.answered_by_name("find"), ids.answered("a"), ids.answered_by_name("look")] == ["b", "a", "c"]


def test_a_result_without_a_call() -> None:
    assert CallIds().answered("a") is None
    assert CallIds().answered_by_name(None) is None


def test_one_id_for_a_thousand_calls() -> None:
    ids = CallIds()
    sent = [call_id for _ in range(1000) for call_id in made(ids, "call_0")]
    assert len(set(sent)) == 1000
    assert sent[-1] == "call_0_1000"
