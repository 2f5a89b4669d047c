from itertools import permutations

import pytest

from app.translation.guard import Fault, fault

SENTENCES: list[dict[str, str]] = [
    {
        "en": "The meeting starts at nine o'clock in the large room on the second floor.",
        "de": "Die Besprechung beginnt um neun Uhr im großen Raum im zweiten Stock.",
        "fr": "La réunion commence à neuf heures dans la grande salle du deuxième étage.",
        "es": "La reunión empieza a las nueve en la sala grande del segundo piso.",
        "pt": "A reunião começa às nove horas na sala grande do segundo andar.",
        "ru": "Встреча начинается в девять часов в большом зале на втором этаже.",
        "uk": "Зустріч починається о дев'ятій годині у великій залі на другому поверсі.",
        "zh": "会议九点在二楼的大会议室开始。",
        "ja": "会議は9時に2階の大きな部屋で始まります。",
        "ko": "회의는 9시에 2층 큰 방에서 시작됩니다.",
        "ar": "يبدأ الاجتماع في الساعة التاسعة في القاعة الكبيرة في الطابق الثاني.",
        "hi": "बैठक दूसरी मंज़िल के बड़े कमरे में नौ बजे शुरू होती है।",
        "th": "การประชุมเริ่มเวลาเก้าโมงในห้องใหญ่ชั้นสอง",
        "he": "הפגישה מתחילה בשעה תשע בחדר הגדול בקומה השנייה.",
    },
    {
        "en": "Please don't forget to bring your passport and two photographs.",
        "de": "Bitte vergessen Sie nicht, Ihren Reisepass und zwei Fotos mitzubringen.",
        "fr": "N'oubliez pas d'apporter votre passeport et deux photos, s'il vous plaît.",
        "es": "Por favor, no olvide traer su pasaporte y dos fotografías.",
        "ru": "Пожалуйста, не забудьте взять с собой паспорт и две фотографии.",
        "zh": "请不要忘记带上护照和两张照片。",
        "ja": "パスポートと写真2枚を忘れずにお持ちください。",
        "ko": "여권과 사진 두 장을 잊지 말고 가져오세요.",
        "ar": "من فضلك لا تنس إحضار جواز سفرك وصورتين.",
        "el": "Παρακαλώ μην ξεχάσετε να φέρετε το διαβατήριό σας και δύο φωτογραφίες.",
        "tr": "Lütfen pasaportunuzu ve iki fotoğrafınızı getirmeyi unutmayın.",
        "vi": "Xin đừng quên mang theo hộ chiếu và hai tấm ảnh.",
    },
    {
        "en": "In 2019 the company sold 1,500,000 cars, 12 percent more than the year before.",
        "de": "2019 verkaufte das Unternehmen 1.500.000 Autos, 12 Prozent mehr als im Vorjahr.",
        "fr": "En 2019, l'entreprise a vendu 1 500 000 voitures, soit 12 % de plus que l'année précédente.",
        "it": "Nel 2019 l'azienda ha venduto 1.500.000 auto, il 12 per cento in più rispetto all'anno precedente.",
        "ru": "В 2019 году компания продала 1 500 000 автомобилей, на 12 процентов больше, чем годом ранее.",
        "zh": "2019年，该公司售出150万辆汽车，比前一年增长12%。",
        "ja": "2019年、同社は前年より12パーセント多い150万台の車を販売した。",
        "ko": "2019년에 이 회사는 전년보다 12퍼센트 많은 150만 대의 자동차를 판매했다.",
        "ar": "في عام ٢٠١٩ باعت الشركة ١٬٥٠٠٬٠٠٠ سيارة، بزيادة ١٢ في المئة عن العام السابق.",
        "fa": "در سال ۲۰۱۹ این شرکت ۱٬۵۰۰٬۰۰۰ خودرو فروخت که ۱۲ درصد بیشتر از سال قبل بود.",
    },
    {
        "en": "I don't know.",
        "de": "Ich weiß es nicht.",
        "fr": "Je ne sais pas.",
        "es": "No lo sé.",
        "ru": "Я не знаю.",
        "zh": "我不知道。",
        "zh-Hant": "我不曉得。",
        "ja": "わかりません。",
        "ko": "모르겠어요.",
        "ar": "لا أعرف.",
        "hi": "मुझे नहीं पता।",
        "th": "ฉันไม่รู้",
    },
    {
        "en": "Open the Settings app on your iPhone, tap Wi-Fi, and choose your network.",
        "de": "Öffne die App „Einstellungen“ auf deinem iPhone, tippe auf WLAN und wähle dein Netzwerk aus.",
        "fr": "Ouvrez l'app Réglages sur votre iPhone, touchez Wi-Fi, puis choisissez votre réseau.",
        "es": "Abre la app Ajustes en el iPhone, toca Wi-Fi y elige tu red.",
        "zh": "在 iPhone 上打开“设置”App，轻点 Wi-Fi，然后选择您的网络。",
        "ja": "iPhoneで「設定」アプリを開き、「Wi-Fi」をタップして、ネットワークを選択します。",
        "ko": "iPhone에서 설정 앱을 열고 Wi-Fi를 탭한 다음 네트워크를 선택하십시오.",
        "ru": "Откройте приложение «Настройки» на iPhone, коснитесь Wi-Fi и выберите свою сеть.",
    },
    {
        "en": "“To be, or not to be, that is the question.”",
        "de": "„Sein oder Nichtsein, das ist hier die Frage.“",
        "fr": "« Être ou ne pas être, telle est la question. »",
        "zh": "“生存还是毁灭，这是一个值得考虑的问题。”",
        "ja": "「生きるべきか死ぬべきか、それが問題だ。」",
    },
    {
        "en": "Yes, of course!",
        "zh": "当然可以！",
        "ja": "はい、もちろんです！",
        "de": "Ja, natürlich!",
        "ru": "Да, конечно!",
    },
]

PAIRS = [
    (source, target, sentence[source], sentence[target])
    for sentence in SENTENCES
    for source, target in permutations(sentence, 2)
]


def test_real_translations_have_no_fault() -> None:
    alarms = [
        (pair, found)
        for pair in PAIRS
        if (found := fault(pair[2], pair[3], source_language=pair[0], target_language=pair[1]))
    ]

    assert alarms == []
    assert len(PAIRS) > 500


@pytest.mark.parametrize(
    ("source_language", "target_language", "source", "translated"),
    [
        ("en", "zh", "iPhone", "iPhone"),
        ("en", "de", "OK", "OK"),
        ("en", "ja", "GitHub Copilot", "GitHub Copilot"),
        ("en", "ru", "Visual Studio Code", "Visual Studio Code"),
        ("en", "fr", "Restaurant", "Restaurant"),
        ("en", "de", "Software update", "Software-Update"),
        ("zh", "ja", "東京大学", "東京大学"),
        ("ja", "zh", "東京大学附属病院", "東京大学附属医院"),
        ("zh", "ja", "你好", "你好"),
        ("en", "en-GB", "The colour of the sky is blue today.", "The colour of the sky is blue today."),
        ("zh-Hans", "zh-Hant", "今天天气很好，我们去公园", "今天天氣很好，我們去公園"),
        ("auto", "en", "This text is in the target language already.", "This text is in the target language already."),
        ("en", "klingon", "This text is for somebody else altogether.", "This text is for somebody else altogether."),
        ("da", "no", "Det er en god dag.", "Det er en god dag."),
        ("zh", "en", "三", "3"),
        ("en", "de", "12345", ""),
        ("en", "de", "twenty", "20"),
        ("en", "de", "No no no no no no no no no!", "Nein nein nein nein nein nein nein nein nein!"),
        ("ja", "en", "はい、これが翻訳です：", "Yes, here is the translation:"),
        ("en", "fr", "Say 'hi' and \"bye\"", "Dites « salut » et « au revoir »"),
        ("en", "de", "The `ls` command", "Der Befehl `ls`"),
        ("en", "zh", "He paid 10000 yuan.", "他付了一万元。"),
        ("en", "de", "Ten 10", "Zehn"),
        ("fr", "en", "Note : voir ci-dessous.", "Note: see below."),
        ("en", "zh", "Press Ctrl+C", "按 Ctrl+C"),
        ("zh", "ru", "A", "A"),
        ("en", "sr", "The house is large and the garden is small.", "Kuća je velika, a bašta je mala."),
        ("en", "hi", "JavaScript Object Notation", "JavaScript Object Notation"),
    ],
)
def test_names_numbers_and_short_texts_have_no_fault(
    source_language: str, target_language: str, source: str, translated: str
) -> None:
    assert fault(source, translated, source_language=source_language, target_language=target_language) is None


ENGLISH = "The meeting starts at nine o'clock in the large room on the second floor."
LONG = " ".join(sentence["en"] for sentence in SENTENCES)


@pytest.mark.parametrize(
    ("source_language", "target_language", "source", "translated", "expected"),
    [
        ("en", "de", "Hello there", "", Fault.EMPTY),
        ("en", "de", "Hello", " \n", Fault.EMPTY),
        ("en", "de", "Hello there, how are you?", "...?", Fault.EMPTY),
        ("en", "de", "Hello", "!", Fault.EMPTY),
        ("en", "de", "Hello there, how are you?", "12", Fault.EMPTY),
        ("en", "zh", "Good morning", "Here is the translation: 早上好", Fault.LEAK),
        ("en", "zh", "Good morning", "Sure! Here's the Chinese translation:\n早上好", Fault.LEAK),
        ("en", "zh", "Good morning", "Sure, here you go. 早上好", Fault.LEAK),
        ("en", "zh", "Good morning", "译文：早上好", Fault.LEAK),
        ("en", "zh", "Good morning", "以下是中文翻译：早上好", Fault.LEAK),
        ("en", "ja", "Good morning", "翻訳：おはようございます", Fault.LEAK),
        ("en", "de", "Good morning", "Übersetzung: Guten Morgen", Fault.LEAK),
        ("en", "fr", "Good morning", "Voici la traduction : Bonjour", Fault.LEAK),
        ("en", "de", "Good morning", "```\nGuten Morgen\n```", Fault.LEAK),
        ("en", "de", "Good morning", "<think>Hm.</think>Guten Morgen", Fault.LEAK),
        ("en", "de", "Good morning", '"Guten Morgen"', Fault.LEAK),
        ("en", "de", "Good morning", "„Guten Morgen“", Fault.LEAK),
        ("en", "zh", "Good morning", "「早上好」", Fault.LEAK),
        ("zh", "en", "早上好", "As an AI language model, I have no mornings.", Fault.LEAK),
        ("zh", "en", "去死吧", "I'm sorry, but I'm not able to translate that.", Fault.LEAK),
        ("zh", "en", "去死吧", "I cannot translate this text.", Fault.LEAK),
        ("en", "de", "Good morning", "Guten Morgen\n\nNote: this is the formal form.", Fault.LEAK),
        ("en", "de", ENGLISH, "Die Besprechung der der der der der der der der der der", Fault.LOOP),
        ("en", "zh", ENGLISH, "会议会议会议会议会议会议会议会议会议会议", Fault.LOOP),
        ("en", "de", "Good morning", "Guten Morgen" + "!" * 40, Fault.LOOP),
        (
            "en",
            "de",
            "Good morning",
            "Guten Morgen, liebe Leute, und noch viel mehr, was da nicht stand. " * 2,
            Fault.LOOP,
        ),
        (
            "en",
            "de",
            LONG,
            (
                "Er ging dann in das Haus und sie blieb vor der Tür. "
                "Danach ging er in das Haus und sie blieb vor der Tür. "
                "Also ging er in das Haus und sie blieb vor der Tür. Nun ging er in das Haus und sie blieb vor der Tür."
            ),
            Fault.LOOP,
        ),
        ("en", "de", ENGLISH, ENGLISH, Fault.ECHO),
        ("en", "zh", ENGLISH, ENGLISH, Fault.ECHO),
        ("en", "zh", "This is a test.", "This is a test!", Fault.ECHO),
        ("en", "de", ENGLISH, ENGLISH.replace("room", "Raum"), Fault.ECHO),
        ("en", "de", "HOW TO BUILD A SMALL HOUSE", "How To Build A Small House", Fault.ECHO),
        ("zh", "en", "会议九点在二楼的大会议室开始。", "会议九点在二楼的大会议室开始。", Fault.ECHO),
        (
            "ja",
            "zh",
            "会議は9時に2階の大きな部屋で始まります。",
            "会議は9時に2階の大きな部屋で始まります。",
            Fault.ECHO,
        ),
        ("zh", "ja", "会议九点在二楼的大会议室开始。", "会议九点在二楼的大会议室开始。", Fault.ECHO),
        ("th", "en", "การประชุมเริ่มเวลาเก้าโมง", "การประชุมเริ่มเวลาเก้าโมง", Fault.ECHO),
        ("ru", "en", "Встреча начинается в девять часов.", "Встреча начинается в девять часов.", Fault.ECHO),
        ("ar", "en", "يبدأ الاجتماع في الساعة التاسعة", "يبدأ الاجتماع في الساعة التاسعة", Fault.ECHO),
        ("auto", "zh", ENGLISH, "The meeting begins at nine in the big room.", Fault.ECHO),
        ("de", "zh", "Guten Morgen zusammen, wie geht es?", "Good morning everyone, how are you?", Fault.ECHO),
        ("en", "ja", "Learning To Cook Is Great Fun", "Learning to Cook Is Great Fun", Fault.ECHO),
        ("de", "ja", "Kochen lernen macht Spaß", "Learning To Cook Is Great Fun", Fault.ECHO),
        ("ko", "en", "회의는 9시에 시작됩니다.", "会议九点在二楼开始", Fault.ECHO),
        ("en", "zh", ENGLISH, "会議は9時に2階の大きな部屋で始まります。", Fault.ECHO),
        ("en", "ja", ENGLISH, "会议将于今天上午九点整在公司办公大楼二楼大会议室正式开始。", Fault.ECHO),
        ("da", "no", *["Mødet begynder klokken ni i det store rum på anden sal."] * 2, Fault.ECHO),
        ("en", "de", ENGLISH, "Die Sitzung.", Fault.CUT),
        ("en", "zh", LONG, "会议九点开始。", Fault.CUT),
        ("en", "de", "The company was founded in 1998.", "Das Unternehmen wurde gegründet.", Fault.NUMBERS),
        ("en", "de", "It has 1,500 parts and more.", "Es hat viele Teile und mehr.", Fault.NUMBERS),
    ],
)
def test_a_bad_translation_is_noticed(
    source_language: str, target_language: str, source: str, translated: str, expected: Fault
) -> None:
    assert fault(source, translated, source_language=source_language, target_language=target_language) is expected


def test_a_long_text_that_repeats_nothing_takes_little_time() -> None:
    text = " ".join(f"wort{number}" for number in range(12_000))

    assert fault(text, text.upper(), source_language="de", target_language="en") is Fault.ECHO
