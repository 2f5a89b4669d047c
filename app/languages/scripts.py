"""Scripts: which one a text is written in, and which languages are written in it."""

from bisect import bisect_right
from collections import Counter
from functools import cache
from typing import Literal

# First and last code point, ISO 15924 code. Letters only; what stands nowhere here has no say.
# Source: the Unicode Character Database, Scripts.txt, of the blocks that carry today's languages.
_RANGES = (
    (0x0041, 0x005A, "Latn"),
    (0x0061, 0x007A, "Latn"),
    (0x00AA, 0x00AA, "Latn"),
    (0x00BA, 0x00BA, "Latn"),
    (0x00C0, 0x00D6, "Latn"),
    (0x00D8, 0x00F6, "Latn"),
    (0x00F8, 0x02AF, "Latn"),
    (0x0370, 0x03FF, "Grek"),
    (0x0400, 0x052F, "Cyrl"),
    (0x0531, 0x0587, "Armn"),
    (0x05D0, 0x05F2, "Hebr"),
    (0x0620, 0x065F, "Arab"),
    (0x066E, 0x06D3, "Arab"),
    (0x06D5, 0x06EF, "Arab"),
    (0x06FA, 0x06FF, "Arab"),
    (0x0750, 0x077F, "Arab"),
    (0x0780, 0x07BF, "Thaa"),
    (0x08A0, 0x08FF, "Arab"),
    (0x0900, 0x0963, "Deva"),
    (0x0971, 0x097F, "Deva"),
    (0x0980, 0x09E3, "Beng"),
    (0x09F0, 0x09FE, "Beng"),
    (0x0A00, 0x0A65, "Guru"),
    (0x0A70, 0x0A76, "Guru"),
    (0x0A80, 0x0AE3, "Gujr"),
    (0x0B00, 0x0B63, "Orya"),
    (0x0B80, 0x0BE5, "Taml"),
    (0x0C00, 0x0C63, "Telu"),
    (0x0C80, 0x0CE3, "Knda"),
    (0x0D00, 0x0D63, "Mlym"),
    (0x0D80, 0x0DE5, "Sinh"),
    (0x0E01, 0x0E3A, "Thai"),
    (0x0E40, 0x0E4E, "Thai"),
    (0x0E81, 0x0ECD, "Laoo"),
    (0x0F40, 0x0FBC, "Tibt"),
    (0x1000, 0x103F, "Mymr"),
    (0x1050, 0x109F, "Mymr"),
    (0x10A0, 0x10FF, "Geor"),
    (0x1100, 0x11FF, "Hang"),
    (0x1200, 0x139F, "Ethi"),
    (0x13A0, 0x13FF, "Cher"),
    (0x1780, 0x17D3, "Khmr"),
    (0x1820, 0x18AA, "Mong"),
    (0x1C5A, 0x1C7D, "Olck"),
    (0x1C80, 0x1C8F, "Cyrl"),
    (0x1C90, 0x1CBF, "Geor"),
    (0x1E00, 0x1EFF, "Latn"),
    (0x1F00, 0x1FFF, "Grek"),
    (0x2D00, 0x2D2D, "Geor"),
    (0x2D30, 0x2D7F, "Tfng"),
    (0x2D80, 0x2DDE, "Ethi"),
    (0x2DE0, 0x2DFF, "Cyrl"),
    (0x3005, 0x3007, "Hani"),
    (0x3041, 0x3096, "Kana"),
    (0x309D, 0x309F, "Kana"),
    (0x30A1, 0x30FA, "Kana"),
    (0x30FC, 0x30FF, "Kana"),
    (0x3105, 0x312F, "Bopo"),
    (0x3131, 0x318E, "Hang"),
    (0x31F0, 0x31FF, "Kana"),
    (0x3400, 0x4DBF, "Hani"),
    (0x4E00, 0x9FFF, "Hani"),
    (0xA000, 0xA48C, "Yiii"),
    (0xA720, 0xA7FF, "Latn"),
    (0xA960, 0xA97C, "Hang"),
    (0xAA60, 0xAA7F, "Mymr"),
    (0xABC0, 0xABE2, "Mtei"),
    (0xAC00, 0xD7FB, "Hang"),
    (0xF900, 0xFAFF, "Hani"),
    (0xFB00, 0xFB06, "Latn"),
    (0xFB13, 0xFB17, "Armn"),
    (0xFB1D, 0xFB4F, "Hebr"),
    (0xFB50, 0xFDFB, "Arab"),
    (0xFE70, 0xFEFC, "Arab"),
    (0xFF21, 0xFF3A, "Latn"),
    (0xFF41, 0xFF5A, "Latn"),
    (0xFF66, 0xFF9F, "Kana"),
    (0xFFA0, 0xFFDC, "Hang"),
    (0x20000, 0x323AF, "Hani"),
)
_STARTS = tuple(first for first, _, _ in _RANGES)

LANGUAGES = {
    script: tuple(codes.split())
    for script, codes in {
        "Latn": "en es fr de pt it nl pl tr id vi sv cs ro hu da fi no sk hr ca ms tl sw af sl lt lv et is sq az uz cy "
        "ga eu gl bs mt eo la lb ha ig yo so zu xh jv su ceb mg ht ku oc br gd fy nn tk st sn ny mi sm haw co hmn ast "
        "ilo war pap scn vec wo ln lg tn ss ff kha lus",
        "Cyrl": "ru uk bg sr be mk kk mn ky tg tt ba cv os ce sah",
        "Arab": "ar fa ur ps ckb ug sd ks",
        "Deva": "hi mr ne sa mai bho gom doi awa hne mag brx",
        "Hebr": "he yi",
        "Beng": "bn as mni",
        "Hani": "zh ja yue",
        "Jpan": "ja",
        "Hang": "ko",
        "Bopo": "zh",
        "Grek": "el",
        "Armn": "hy",
        "Geor": "ka",
        "Guru": "pa",
        "Gujr": "gu",
        "Orya": "or",
        "Taml": "ta",
        "Telu": "te",
        "Knda": "kn",
        "Mlym": "ml",
        "Sinh": "si",
        "Thai": "th",
        "Laoo": "lo",
        "Tibt": "bo dz",
        "Mymr": "my",
        "Ethi": "am ti",
        "Khmr": "km",
        "Mong": "mn",
        "Thaa": "dv",
        "Cher": "chr",
        "Olck": "sat",
        "Tfng": "zgh",
        "Yiii": "ii",
        "Mtei": "mni",
    }.items()
}
"""Script -> the languages written in it, the most frequent ones first. `Jpan` is kana with or without Han."""

_DENSE = 5
"""Letters of an alphabet that one Han, kana or hangul sign outweighs: it says more, and names are long."""

_DENSE_SCRIPTS = frozenset({"Hani", "Jpan", "Hang"})

_KANA_SHARE = 0.1
"""Of a text's Han and kana; below it kana is a foreign word or an ornament, as の is in Chinese shop names."""

_JAPANESE_HAN_SHARE = 0.05
"""Of a text's Han; below it a Japanese name is mentioned."""

# The most frequent characters that only one of the two variants has, of what OpenCC converts one to one.
_HANT = frozenset(
    "們這個來時國說對會學過還沒為點見頭長發現經動電話後無實業關東車馬鳥魚門問間聞書賣讀寫語課請謝誰誤讓認識試詞該"
    "詳調談論證記許設訪評譯訴診計訂訊議護變難題類預領頁項順須顯風飛飯館餓飲紅級純紙細終結給統絕絲練組織約維綠網緊"
    "續總縣績繼輸轉輕輛軟較載邊達遠運進連選遲適鄉銀錢鐵鐘錯鎮鏡針釣鈴銷鋼錄傳億優價傷側偵儀僅償兒兩興舉舊歡歲歷歸"
    "殘殺氣漢滿漁湯測準濟濃灣熱燈營爾獨獲獎環產異當療監盤盡確礦禮種積穩窮筆節範築簡糧聖聽職聲聯腦腳膽臉臨藝藥莊華"
    "葉萬蘇蘭蟲補裝複規視覺親觀觸貓貝負財責貨質費資賓賽贊趕趙跡蹟踐躍農遞郵鄧醫釋隊階陽陰陳際隨險雖雜雙雞離雲靈靜"
    "韓響頓額顧驗驚體鬥鬧魯鮮麗麥黃齊龍龜臺區務勞勢勝單嗎喚團園圓圖場塊壓壞壯處備復夢奪奮媽婦孫寧寶將專導層屬島師"
    "帶幫幹幣廠廣廳廢張彈強徑從應態慣慶憂懷戲戶擇擔據擁擴攝數斷昇曉暫條極構樣標樓樹橋機檢權櫃剛剝劑勸匯參叢吳嘆噸"
    "墊墳壘夾奧妝姦娛嬌孿審寢尋屆岡嶺嶼巖幟庫彌徹恆恥悅惡惱愛慘慚慮憐憑憲懇懸懶戀捨掃掛採揀揚換揮損搖搶撈撐撥撫撲"
    "擊擋擠擺擾攔敗敵斃晝暈暢曬朧棄棗棟棧榮槍槳樂樸欄歐歟毀氈氫決沖況洩涼淚淨淪淵減渦滄滅滌滯滲滾漸潑潔潤澀澤濁濕"
    "濱瀉瀏瀾灑灘煉煙煩燒燙燦燭爐爭爺牆狀狹猶獄獅獵獻瑣瑪瓊甕疇瘋瘡瘧癢癱皺盜睏瞞矯碩磚禍禪禿稅稈穎穢窩窪竊競筍籃"
    "籌籠糞糾紀紋納紐紗紛紡紮絡絨綁綜綱綴緒緝緣編緩緬緯縛縫縮縱縷繞繡繩繪繫罰罵羅羈義習翹聳聾肅脅脈脫脹膚膠膩臘臟"
    "艦艙芻莖萊蔣蔭薩藍蘆虛虧蝕螞蠅蠟衛衝襖襪襯訓訝訟訣詐詛詠詢詩詭誇誌誕誘誠誡誣誨誼諒諧諷諸諾謀謂謊謎謙謹譜譽豎"
    "豬貢貧販貪貫貯貴貶貸貼貿賀賄賊賜賞賠賢賤賦賬賭賴賺贈贏趨踴軀軌軒輔輝輩輪輯輻輾轄轎轟辭辯逕遙遜遷遺遼郟鄒鄭鄰"
    "醬醞釀釘釦鈍鈔鈕鈣鈺鈾鉀鉛鉤銅銘銳鋁鋒鋤鋪錦錫鍋鍛鍵鎖鎚鏈鏟鑄鑑鑒鑰鑽閃閉閏閘閣閥閱闆闊闖陝陣陸隕隸霧霽頂頃"
    "頌頑頒頗頰頸頻顆顏顛顫顱颱飄飼飽飾餅餞饅饋饑馭馳馴駁駐駕駛駝駱騎騙騰騷驅驕驟驢髒鬆鬍鬚魷鮑鯉鯊鯨鰱鱗鳳鳴鴉鴨"
    "鴿鵝鵬鶴鷹鹽黨齒齡龐"
)
_HANS = frozenset(
    "们这个来时国说对会学过还没为点见头长发现经动电话无实业关东车马鸟鱼门问间闻书卖读写语课请谢谁误让认识试词该详"
    "调谈论证记许设访评译诉诊计订讯议护变难题类预领页项顺须显风飞饭馆饿饮红级纯纸细终结给统绝丝练组织约维绿网紧续"
    "总县绩继输转轻辆软较载边达远运进连选迟乡银钱铁钟错镇镜针钓铃销钢录传亿优伤侧侦仪仅偿儿两兴举旧欢岁历归残杀气"
    "汉满渔汤测济浓湾热灯营尔独获奖环产异当疗监盘尽矿礼积稳穷笔节简粮圣听职声联脑脚胆脸临艺药庄华苏兰补装复规视觉"
    "亲观触猫贝负财责货质费资宾赛赞赶赵迹践跃农递邮邓医释队阶阳阴陈际随险虽杂双鸡离灵静韩响顿额顾验惊体闹鲁鲜丽麦"
    "黄齐龙龟区务劳势单吗唤团园圆图场块压坏壮处备梦夺奋妈妇孙宁宝将专导层属岛师带帮币厅废张弹强径从应态惯庆忧怀戏"
    "户择担拥扩摄数断晓暂条构样标楼树桥机检权刚剥剂劝汇参丛吴叹吨垫坟垒夹奥妆娱娇孪审寝寻届冈岭屿帜库弥彻恒耻悦恶"
    "恼爱惨惭虑怜凭宪恳悬懒恋扫拣扬换挥损摇抢捞撑拨抚扑击挡挤摆扰拦败敌毙昼晕畅晒胧弃枣栋栈荣枪桨乐栏欧欤毁毡氢决"
    "冲况凉泪净沦渊减涡沧灭涤滞渗滚渐泼洁润涩泽浊湿滨泻浏澜洒滩炼烟烦烧烫灿烛炉争爷墙状狭犹狱狮猎献琐玛琼瓮畴疯疮"
    "疟痒瘫皱盗瞒矫硕砖祸禅秃税秆颖秽窝洼窃竞笋篮筹笼粪纠纪纹纳纽纱纷纺络绒绑综纲缀绪缉缘编缓缅纬缚缝缩纵缕绕绣绳"
    "绘罚骂罗羁义习翘耸聋肃胁脉脱胀肤胶腻脏舰舱刍茎莱蒋荫萨蓝芦虚亏蚀蚂蝇卫袄袜衬训讶讼诀诈诅咏询诗诡诞诱诚诫诬诲"
    "谊谅谐讽诸诺谋谓谎谜谦谨谱誉竖猪贡贫贩贪贯贮贵贬贷贴贸贺贿贼赐赏赔贤贱赋账赌赖赚赠赢趋躯轨轩辅辉辈轮辑辐辗辖"
    "轿轰辞辩迳遥逊迁遗辽郏邹郑邻酱酝酿钉钝钞钮钙钰铀钾铅钩铜铭锐铝锋锄铺锦锡锅锻键锁锤链铲铸鉴钥钻闪闭闰闸阁阀阅"
    "阔闯陕阵陆陨隶雾霁顶顷颂顽颁颇颊颈频颗颜颠颤颅飘饲饱饰饼饯馒馈饥驭驰驯驳驻驾驶驼骆骑骗腾骚驱骄骤驴鱿鲍鲤鲨鲸"
    "鲢鳞凤鸣鸦鸭鸽鹅鹏鹤鹰盐齿龄庞"
)
_JAPANESE_HAN = frozenset(
    "変気駅発売円図込働畑峠広対実験観覧読続価単厳桜歩毎渋済渇渓焼竜経継絵総縁縄繊聴脳蔵薬覚訳豊転軽辺遅郷鉄銭関闘"
    "隠雑霊駆髄黒斎歳収両倹剣剤効勅勲団圏圧塁塩壊壌処奨嬢専巣帰弐弾徳応恵悪戦択拠拡挙挿捜掲揺摂暁栄桟検楽様権歴"
    "沢浄涙満滝瀬焔犠猟獣畳県砕穂稲穏粛縦"
)
"""Forms that Japan alone has."""


@cache
def script_of(character: str) -> str | None:
    """The ISO 15924 code of a letter, such as `Latn`; both kana are `Kana`. None for digits, marks and emoji."""
    point = ord(character)
    index = bisect_right(_STARTS, point) - 1
    return _RANGES[index][2] if index >= 0 and point <= _RANGES[index][1] else None


def letters_of(text: str) -> Counter[str]:
    """How many letters of each script a text has."""
    return Counter(script for script in map(script_of, text) if script)


def main_script(text: str) -> str | None:
    """The script of most of what a text says: a Chinese sentence with some Latin names is Chinese. `Jpan` with kana.

    None if there are no letters.
    """
    weights = {script: count * (_DENSE if script in _DENSE_SCRIPTS else 1) for script, count in _joined(text).items()}
    return max(weights, key=lambda script: weights[script], default=None)


def han_variant(text: str) -> Literal["hans", "hant"] | None:
    """Whether Chinese is written in simplified or traditional characters. None if the two write the text alike."""
    simplified, traditional = (sum(character in table for character in text) for table in (_HANS, _HANT))
    if simplified == traditional:
        return None
    return "hans" if simplified > traditional else "hant"


def _joined(text: str) -> Counter[str]:
    """The letters, with Han and kana put down to the language that they make up together."""
    letters = letters_of(text)
    han, kana = letters.pop("Hani", 0), letters.pop("Kana", 0)
    if han + kana:
        letters["Jpan" if _is_japanese(text, han, kana) else "Hani"] = han + kana
    return letters


def _is_japanese(text: str, han: int, kana: int) -> bool:
    japanese = sum(character in _JAPANESE_HAN for character in text)
    return kana > _KANA_SHARE * (han + kana) or japanese > _JAPANESE_HAN_SHARE * han
