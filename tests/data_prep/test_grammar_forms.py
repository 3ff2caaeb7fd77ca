"""Inflection and numbers of the embedded corpus, against forms written by hand."""

import pytest
from grammar import english_forms, german_forms, numerals
from grammar.lexicon import load_lexicon

LEXICON = load_lexicon()


def test_articles_and_nouns_agree():
    cases = ("nom", "acc", "dat", "gen")
    kind, boy, cat = (LEXICON.noun_named[name] for name in ("Kind", "Junge", "Katze"))

    def forms(noun, number="sg"):
        return [
            german_forms.noun(noun.german, noun.german_plural, noun.gender, noun.weak, case, number)
            for case in cases
        ]

    assert forms(kind) == ["Kind", "Kind", "Kind", "Kindes"]
    assert forms(kind, "pl") == ["Kinder", "Kinder", "Kindern", "Kinder"]
    assert forms(boy) == ["Junge", "Jungen", "Jungen", "Jungen"]
    assert forms(cat, "pl") == ["Katzen"] * 4
    assert [german_forms.definite(case, "m") for case in cases] == ["der", "den", "dem", "des"]
    assert [german_forms.definite(case, "pl") for case in cases] == ["die", "die", "den", "der"]


@pytest.mark.parametrize(
    ("declension", "agreement", "expected"),
    [
        ("weak", "m", "alte alten alten alten"),
        ("weak", "f", "alte alte alten alten"),
        ("weak", "pl", "alten alten alten alten"),
        ("mixed", "m", "alter alten alten alten"),
        ("mixed", "n", "altes altes alten alten"),
        ("strong", "m", "alter alten altem alten"),
        ("strong", "f", "alte alte alter alter"),
        ("strong", "pl", "alte alte alten alter"),
    ],
)
def test_adjective_endings(declension, agreement, expected):
    cases = ("nom", "acc", "dat", "gen")
    found = [german_forms.adjective("alt", declension, case, agreement) for case in cases]
    assert found == expected.split()


def test_adjectives_that_change_their_stem():
    inflect = german_forms.adjective
    changed = [inflect(word, "weak", "nom", "m") for word in ("müde", "dunkel", "teuer")]
    assert changed == ["müde", "dunkle", "teure"]


@pytest.mark.parametrize(
    ("name", "present", "past"),
    [
        ("lesen", "lese liest liest lesen lest lesen", "las lasest las lasen last lasen"),
        ("warten", "warte wartest wartet warten wartet warten", None),
        ("öffnen", "öffne öffnest öffnet öffnen öffnet öffnen", None),
        ("einladen", "lade lädst lädt laden ladet laden", None),
        ("essen", "esse isst isst essen esst essen", None),
        ("putzen", "putze putzt putzt putzen putzt putzen", None),
        ("gehen", None, "ging gingst ging gingen gingt gingen"),
        ("mögen", "mag magst mag mögen mögt mögen", None),
    ],
)  # fmt: skip
def test_german_verbs(name, present, past):
    forms = LEXICON.verb_named[name].german
    persons = [(person, number) for number in ("sg", "pl") for person in (1, 2, 3)]
    for inflect, expected in ((german_forms.present, present), (german_forms.preterite, past)):
        if expected is not None:
            assert [inflect(forms, *person) for person in persons] == expected.split()


def test_german_participles():
    names = ("aufmachen", "besuchen", "reparieren", "antworten", "vorbereiten", "aufwachen")
    expected = "aufgemacht besucht repariert geantwortet vorbereitet aufgewacht"
    assert [LEXICON.verb_named[name].german.participle for name in names] == expected.split()
    assert LEXICON.verb_named["aufwachen"].german.auxiliary == "sein"


def test_english_verbs():
    forms = english_forms.verb_forms
    assert [forms(word).third for word in ("go", "carry", "play", "wash")] == [
        "goes", "carries", "plays", "washes",
    ]  # fmt: skip
    assert [forms(word).progressive for word in ("write", "lie", "run", "see", "wait")] == [
        "writing", "lying", "running", "seeing", "waiting",
    ]  # fmt: skip
    assert [forms(word).past for word in ("like", "study", "play", "open")] == [
        "liked", "studied", "played", "opened",
    ]  # fmt: skip


def test_english_articles_follow_the_sound():
    articles = [
        english_forms.indefinite_article(word)
        for word in ("apple", "university", "honest man", "old house", "useful tip", "umbrella")
    ]
    assert articles == ["an", "a", "an", "an", "a", "an"]


def test_numbers():
    assert numerals.german_number(21) == "einundzwanzig"
    assert numerals.german_number(16) == "sechzehn"
    assert numerals.german_number(30) == "dreißig"
    assert numerals.german_number(777) == "siebenhundertsiebenundsiebzig"
    assert numerals.german_number(1101) == "eintausendeinhunderteins"
    assert numerals.english_number(21) == "twenty-one"
    assert numerals.english_number(777) == "seven hundred and seventy-seven"
    assert numerals.english_number(1005) == "one thousand and five"
    for say_number in (numerals.german_number, numerals.english_number):
        assert len({say_number(number) for number in range(3000)}) == 3000


def test_clock_times_and_prices():
    assert numerals.clock(3, 30) == ("um halb vier", "at half past three")
    assert numerals.clock(12, 30) == ("um halb eins", "at half past twelve")
    assert numerals.clock(12, 45) == ("um Viertel vor eins", "at a quarter to one")
    assert numerals.clock(1, 0) == ("um ein Uhr", "at one o'clock")
    assert numerals.price(1200, 0) == ("1.200 Euro", "1,200 euros")
    assert numerals.price(2, 50) == ("2,50 Euro", "2.50 euros")


def test_prepositions_contract_with_the_article():
    contracted = [
        german_forms.contract(*pair)
        for pair in (("in", "dem Wald"), ("zu", "der Schule"), ("auf", "dem Tisch"))
    ]
    assert contracted == ["im Wald", "zur Schule", "auf dem Tisch"]
