"""The values that pass between layers."""

from app.calls import Account, Caller


def test_a_caller_may_have_several_accounts() -> None:
    first, second = (Account(name, "token", "https://api.example") for name in ("first", "second"))
    assert Caller("key", first).accounts == (first,)
    assert Caller("key", first, (second,)).accounts == (first, second)


def test_callers_differ_by_key_and_not_by_what_they_ask_of_a_gateway() -> None:
    account = Account("id", "token", "https://api.example")
    assert hash(Caller("key", account, gateway={"cf-aig-skip-cache": "true"})) == hash(Caller("key", account))
