import pytest

from app.calls import UNLIMITED, Limits
from app.stores.key_entries import KeysError, fingerprint, parse_entry, parse_limits
from app.stores.keys import Keys

ALL = Limits(60, 4, 5000.5, ("gpt-*", "@cf/meta/*"))


@pytest.mark.parametrize(
    ("text", "name", "key", "limits"),
    [
        ("sk-1234", "88dc28d0", "sk-1234", UNLIMITED),
        (" sk-1234 ", "88dc28d0", "sk-1234", UNLIMITED),
        ("YWJjZA==", fingerprint("YWJjZA=="), "YWJjZA==", UNLIMITED),
        ("YWJjZA=", fingerprint("YWJjZA="), "YWJjZA=", UNLIMITED),
        ("a:b;c", fingerprint("a:b;c"), "a:b;c", UNLIMITED),
        ("two words=key", fingerprint("two words=key"), "two words=key", UNLIMITED),
        ("alice=sk:12=34==", "alice", "sk:12=34==", UNLIMITED),
        ("alice = sk", fingerprint("alice = sk"), "alice = sk", UNLIMITED),
        ("alice=sk;rpm=60", "alice", "sk", Limits(requests_per_minute=60)),
        ("a.l-i_ce=sk ; concurrent = 4", "a.l-i_ce", "sk", Limits(concurrent_requests=4)),
        ("alice=sk;neurons=0.5", "alice", "sk", Limits(neurons_per_day=0.5)),
        ("alice=sk;models= gpt-* | 翻译", "alice", "sk", Limits(models=("gpt-*", "翻译"))),
        ("alice=sk;models=gpt-*|@cf/meta/*;rpm=60;neurons=5000.5;concurrent=4", "alice", "sk", ALL),
    ],
)
def test_an_entry_is_a_key_or_a_name_a_key_and_limits(text: str, name: str, key: str, limits: Limits) -> None:
    entry = parse_entry(text)
    assert (entry.name, entry.limits) == (name, limits)
    assert Keys([text]).find(key) == entry
    assert Keys([text]).find(f"{key}x") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "A key is empty"),
        ("alice=;rpm=60", "A key is empty"),
        ("anonymous=secret", "not `anonymous`"),
        ("secret;rpm=60", "needs a name"),
        ("secret ; models = gpt-*", "needs a name"),
        ("alice=secret;rpm", "`rpm` and `concurrent` are whole numbers"),
        ("alice=secret;rpm=0", "`rpm` and `concurrent` are whole numbers"),
        ("alice=secret;concurrent=1.5", "`rpm` and `concurrent` are whole numbers"),
        ("alice=secret;neurons=many", "`neurons` is a number"),
        ("alice=secret;neurons=-1", "`neurons` is a number"),
        ("alice=secret;neurons=nan", "`neurons` is a number"),
        ("alice=secret;models=", "`models` are names"),
        ("alice=secret;models=gpt-*|\n", "`models` are names"),
        ("alice=secret;rpm=1;rpm=2", "`rpm` is there twice"),
        ("alice=secret;rmp=60", "only `;rpm=`"),
        ("alice=se;cret", "only `;rpm=`"),
    ],
)
def test_an_entry_that_can_not_be_understood_is_told_without_its_key(text: str, message: str) -> None:
    with pytest.raises(KeysError, match=message):
        parse_entry(text)
    with pytest.raises(KeysError, match=f"Key 2 of the settings: .*{message}") as raised:
        Keys(["other", text])
    assert "secret" not in str(raised.value)
    assert "cret" not in str(raised.value).replace("secret", "")
    assert "secret" not in repr(raised.value.__cause__)


def test_an_entry_shows_neither_key_nor_digest() -> None:
    assert repr(parse_entry("alice=sk")) == (
        "KeyEntry(name='alice', limits=Limits(requests_per_minute=None, concurrent_requests=None, "
        "neurons_per_day=None, models=()))"
    )


def test_limits_are_parsed_alone_as_well() -> None:
    assert parse_limits(["rpm=60", "concurrent=4", "neurons=5000.5", "models=gpt-*|@cf/meta/*"]) == ALL
    assert parse_limits([]) is UNLIMITED
