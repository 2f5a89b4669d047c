"""Texts in sentences, and sentences in chunks."""

from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.translators.sentences import chunks, sentences

TEXTS = st.text(
    st.sampled_from("ab I.!?…,;: \n\r\"'”()。，？“।؟5é\u0301\u200d\ufe0f👍🏽🇩🇪क्षि\ud83d\ude00α\u3042"), max_size=60
)


@pytest.mark.parametrize(
    "expected",
    [
        [],
        ["Hello."],
        ["   "],
        ["  Hello. ", "Bye. "],
        ["One. ", "Two! ", "Three? ", "Four"],
        ["What?! ", "No way!!! ", "Yes."],
        ["Wait, what? ", "you did?"],
        ["hello there. how are you."],
        ["Mr. Smith met Dr. Jones and Mrs. Who. ", "They talked."],
        ["J. R. R. Tolkien, J. A. Smith and T. S. Eliot wrote. ", "They did."],
        ["Plan B. ", "It failed."],
        ["So do I. ", "But why?"],
        ["Fruit, e.g. Apples, i.e. Granny Smiths. ", "Good."],
        ["The U.S. Army is in the U.S. ", "It is big."],
        ["Acme Inc. Europe and Acme Ltd. ", "They merged."],
        ["See No. 5 and fig. 3 on p. 7. ", "He said no. ", "That was all."],
        ["Pi is 3.14. ", "Version 1.2.3 is out. ", "See example.com/a.b?c=1. ", "Go."],
        ["It is 5. ", "We go. "],
        ["1. First\n", "2. Second. ", "More\n", "(3. Third\n", "1.2. Part\n", "iv. Fourth\n", "a. Letter"],
        ["Wait... what? ", "Well... ", "Yes… no… ", "Maybe."],
        ['He said "Stop." ', "Then he left."],
        ['"What?" he asked. ', "(It was late.) ", "[Ok!] ", "“Fine.” ", "’Twas good."],
        ["Hello\n\n", "World\r\n", "Mr.\n", "Smith"],
        ["Das ist z.B. Berlin bzw. Bonn am 5. Mai im 19. Jahrhundert usw. ", "Es war schön."],
        ["„Hallo.“ ", "Er ging. ", "»Nein!« ", "Doch."],
        ["Il y a p. ex. ceci etc. ", "Les autres aussi. ", "« Oui. » ", "M. Dupont rit."],
        ["¿Qué? ", "¡No! ", "El Sr. López vive."],
        ["Это т.е. пример, напр. Москва. ", "И т. д. ", "Он ушёл."],
        ["Τι κάνεις; ", "Καλά. ", "Ναι\u037e ", "Όχι."],
        ["你好。", "我很好！", "你呢？！", "他说；", "再见"],
        ["“你好。”", "他说。", "「はい。」", "（終わり。）", "終"],
        ['"你好。"', "他说。", '"再见。"', "好"],
        ["你好!", "我在看a.txt和3.5。", "안녕하세요. ", "반갑습니다.", "네."],
        ["１．５です。", "はい．", "いいえ"],
        ["नमस्ते। ", "आप कैसे हैं? ", "ठीक॥ ", "अच्छा"],
        ["هل أنت بخير؟ ", "نعم. ", "شكرا۔ ", "مع"],
        ["สวัสดี๚ ", "ครับ"],
        ["မင်္ဂလာပါ။ ", "ကောင်း။", "ဟုတ်"],
        ["សួស្តី។ ", "បាទ៕ ", "ចាស"],
        ["ሰላም። ", "እሺ"],
        ["Hi!\ufe0f ", "Yes."],
        ["Thus. ", "... ", "So."],
        ["Yes (so). ", "No."],
        ["One. \u0301Two"],
    ],
)
def test_a_text_is_cut_where_its_sentences_end(expected: list[str]) -> None:
    assert sentences("".join(expected)) == expected


@given(TEXTS)
def test_sentences_join_to_the_text(text: str) -> None:
    pieces = sentences(text)
    assert "".join(pieces) == text
    assert all(pieces)


@given(TEXTS, st.integers(1, 30))
def test_chunks_join_to_the_text_and_none_is_too_long(text: str, most: int) -> None:
    pieces = chunks(text, most)
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= most for piece in pieces)
    assert len(pieces) <= 4 * len(text) / most + 2, "they are packed"


@given(TEXTS)
def test_a_letter_keeps_its_accents(text: str) -> None:
    """No cluster of these texts is longer than 60 characters, but many pieces are shorter."""
    longest = max((len(cluster) for cluster in clusters(text)), default=1)
    starts = [0]
    for cluster in clusters(text):
        starts.append(starts[-1] + len(cluster))
    reached = 0
    for piece in chunks(text, longest):
        reached += len(piece)
        assert reached in starts


def clusters(text: str) -> list[str]:
    """The text in runs that end where a character begins that neither joins nor is joined."""
    found: list[str] = []
    for character in text:
        before = found[-1][-1] if found else ""
        is_mark = category(character)[0] == "M" or character in "\u200d🏽"
        is_pair = before + character in ("\r\n", "\ud83d\ude00") or all(
            "🇦" <= each <= "🇿" for each in before + character
        )
        if before and (is_mark or is_pair or before == "\u200d"):
            found[-1] += character
        else:
            found.append(character)
    return found


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, ["a"]),
        (10, ["One. Two. ", "Three."]),
        (9, ["One. ", "Two. ", "Three."]),
        (12, ["Short. ", "One, two, ", "three four. ", "End."]),
        (10, ["aaaa bbbb ", "cccc dddd ", "eeee."]),
        (10, ["ab, ", "cdefghijkl", "mnopqrs"]),
        (4, ["abcd", "efgh", "ij"]),
        (6, ["一二三，", "四五六七，", "八九十一二三"]),
        (6, ["一二，", "三四五六七八", "九十"]),
        (8, ["hi you. ", "yes me. ", "ok"]),
        (5, ["abcd", "e\u0301fgh", "i"]),
        (3, ["ab", "👍🏽c", "def"]),
        (3, ["ab", "🇩🇪c", "d"]),
        (2, ["a", "\r\n"]),
        (2, ["a\u0301", "\u0301\u0301", "b"]),
        (3, ["ab", "\ud83d\ude00c"]),
    ],
)
def test_chunks_are_as_full_as_sentences_allow(most: int, expected: list[str]) -> None:
    assert chunks("".join(expected), most) == expected


def test_an_empty_text_has_no_chunks() -> None:
    assert chunks("", 5) == []


@pytest.mark.parametrize("unit", ["Hello there. ", ". a ", "(", "\n", "e.g. A ", ", ", '。"', "x", " ", "\u0301"])
def test_a_long_text_is_cut_in_a_time_that_grows_with_its_length(unit: str) -> None:
    """A square of it would take minutes."""
    text = unit * (100_000 // len(unit))
    assert "".join(chunks(text, 2000)) == text
