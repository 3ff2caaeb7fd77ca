"""The grammar of the embedded corpus, against inflections and translations written by hand."""

from dataclasses import replace

import pytest
from grammar.chance import Chance
from grammar.drawing import Scope, UnsayableError, compound
from grammar.items.terms import read_terms
from grammar.lexicon import Frame, load_lexicon
from grammar.phrases import (
    Adverbial,
    Clause,
    Complement,
    Fixed,
    Interrogative,
    Name,
    NounPhrase,
    Predicate,
    Relative,
    Tense,
)
from grammar.reference import HE, ME, POLITE, SHE, THEY, WE, YOU, owner_of
from grammar.saying import finish, say, say_embedded
from grammar.sentences import Sentences

LEXICON = load_lexicon()
ANNA = Name(("Anna", "Anna"), "f")


def verb(name):
    return LEXICON.verb_named[name]


def np(noun, determiner="def", number="sg", *adjectives, **more):
    found = {a.german: a for group in LEXICON.adjectives.values() for a in group}
    named = tuple(found[adjective] for adjective in adjectives)
    return NounPhrase(LEXICON.noun_named[noun], number, determiner, named, **more)


def act(subject, name, *arguments, **more):
    frames = verb(name).frames
    complements = tuple(Complement(f, a) for f, a in zip(frames, arguments, strict=False))
    return Clause(subject, verb(name), complements, **more)


def time(german, english):
    return (Adverbial("time", (german, english)),)


GESTERN = time("gestern", "yesterday")

STATEMENTS = [
    # Verb second, sentence bracket, time before or behind
    (
        act(ANNA, "kaufen", np("Buch"), tense=Tense.PAST, adverbials=GESTERN, front="time"),
        "Gestern hat Anna das Buch gekauft.",
        "Yesterday Anna bought the book.",
    ),
    # Object first: case tells who did it
    (
        act(np("Mann"), "sehen", np("Hund"), tense=Tense.PAST, front="object"),
        "Den Hund hat der Mann gesehen.",
        "The man saw the dog.",
    ),
    # Separable verbs
    (
        act(np("Kind"), "aufmachen", np("Tür"), progressive=True),
        "Das Kind macht die Tür auf.",
        "The child is opening the door.",
    ),
    (
        act(ANNA, "anrufen", HE, tense=Tense.GOING, adverbials=time("morgen", "tomorrow")),
        "Anna ruft ihn morgen an.",
        "Anna will call him tomorrow.",
    ),
    (
        act(ANNA, "abholen", HE, tense=Tense.PERFECT),
        "Anna hat ihn schon abgeholt.",
        "Anna has already picked him up.",
    ),
    # Dative and accusative, strong and mixed adjectives
    (
        act(WE, "geben", np("Nachbar", "def", "sg", "alt"), np("Messer", "indef", "sg", "teuer"),
            tense=Tense.PAST),
        "Wir haben dem alten Nachbarn ein teures Messer gegeben.",
        "We gave the old neighbour an expensive knife.",
    ),
    (
        act(ME, "trinken", np("Milch", "none", "sg", "kalt"), progressive=True),
        "Ich trinke kalte Milch.",
        "I am drinking cold milk.",
    ),
    # kein and nicht
    (
        act(ANNA, "kaufen", np("Hut", "indef"), tense=Tense.PAST, negation="not"),
        "Anna hat keinen Hut gekauft.",
        "Anna did not buy a hat.",
    ),
    (
        act(ANNA, "helfen", np("Gast"), tense=Tense.PRESENT, negation="not", progressive=True),
        "Anna hilft dem Gast nicht.",
        "Anna is not helping the guest.",
    ),
    (
        act(ANNA, "geben", np("Mann", "indef"), np("Ring", "indef"), tense=Tense.PERFECT,
            negation="not yet"),
        "Anna hat einem Mann noch keinen Ring gegeben.",
        "Anna has not given a man a ring yet.",
    ),
    (
        act(THEY, "lesen", np("Roman"), tense=Tense.PERFECT, negation="never"),
        "Sie haben den Roman noch nie gelesen.",
        "They have never read the novel.",
    ),
    # Modal verbs
    (
        act(HE, "anmachen", np("Lampe"), tense=Tense.PAST, modal="must"),
        "Er musste die Lampe anmachen.",
        "He had to turn on the lamp.",
    ),
    (
        act(SHE, "lesen", np("Brief"), modal="must", negation="not"),
        "Sie muss den Brief nicht lesen.",
        "She does not have to read the letter.",
    ),
    (
        act(YOU, "lesen", np("Brief"), modal="may", negation="not"),
        "Du darfst den Brief nicht lesen.",
        "You must not read the letter.",
    ),
    (
        act(SHE, "lesen", np("Gedicht", "indef", "pl"), modal="gladly"),
        "Sie liest gern Gedichte.",
        "She likes to read poems.",
    ),
    # Preterite and passive
    (
        act(np("Arzt"), "schreiben", np("Brief", "count", "pl", count=21), tense=Tense.PRETERITE,
            adverbials=time("im Jahr 1987", "in 1987")),
        "Der Arzt schrieb im Jahr 1987 einundzwanzig Briefe.",
        "The doctor wrote twenty-one letters in 1987.",
    ),
    (
        Clause(np("Auto"), verb("reparieren"), tense=Tense.PRETERITE, passive=True),
        "Das Auto wurde repariert.",
        "The car was repaired.",
    ),
    (
        Clause(np("Auto"), verb("reparieren"), modal="must", passive=True),
        "Das Auto muss repariert werden.",
        "The car must be repaired.",
    ),
    # The German dative is the English subject
    (
        act(np("Kleid", "dies"), "gefallen", np("Frau", "def", "pl"), negation="not"),
        "Dieses Kleid gefällt den Frauen nicht.",
        "The women do not like this dress.",
    ),
    # Reflexive verbs, prepositions with case
    (
        act(ANNA, "sich freuen", np("Fest", "poss", owner=owner_of(ANNA)), progressive=True,
            adverbials=time("jetzt", "now"), front="time"),
        "Jetzt freut sich Anna auf ihr Fest.",
        "Now Anna is looking forward to her party.",
    ),
    # Possession
    (
        act(np("Schlüssel", "def", "pl", possessor=ANNA), "liegen", np("Tisch"), progressive=True),
        "Annas Schlüssel liegen auf dem Tisch.",
        "Anna's keys are lying on the table.",
    ),
    (
        act(HE, "waschen", np("Auto", "def", "sg", "alt", possessor=np("Lehrer", "def", "sg")),
            tense=Tense.PAST),
        "Er hat das alte Auto des Lehrers gewaschen.",
        "He washed the teacher's old car.",
    ),
    # To be, compared
    (
        Clause(np("Tisch"), predicate=Predicate(LEXICON.adjectives["thing"][0], np("Lampe"))),
        "Der Tisch ist teurer als die Lampe.",
        "The table is more expensive than the lamp.",
    ),
    (
        Clause(
            np("Tisch"),
            predicate=Predicate(LEXICON.adjectives["common"][0], np("Lampe"), as_than=True),
            tense=Tense.FUTURE,
        ),
        "Der Tisch wird so alt sein wie die Lampe.",
        "The table will be as old as the lamp.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("clause", "german", "english"), STATEMENTS)
def test_statements(clause, german, english):
    assert finish(say(clause)) == (german, english)


def relative(noun, inner):
    return replace(noun, relative=inner)


RELATIVES = [
    (
        act(Relative(np("Mann")), "kaufen", np("Haus"), tense=Tense.PAST),
        "Ich kenne den Mann, der das Haus gekauft hat.",
        "I know the man who bought the house.",
    ),
    (
        act(ANNA, "helfen", Relative(np("Mann")), tense=Tense.PAST),
        "Ich kenne den Mann, dem Anna geholfen hat.",
        "I know the man whom Anna helped.",
    ),
    (
        act(ANNA, "warten", Relative(np("Mann")), progressive=True),
        "Ich kenne den Mann, auf den Anna wartet.",
        "I know the man for whom Anna is waiting.",
    ),
    (
        act(ANNA, "geben", Relative(np("Mann")), np("Buch"), tense=Tense.PAST),
        "Ich kenne den Mann, dem Anna das Buch gegeben hat.",
        "I know the man to whom Anna gave the book.",
    ),
    (
        act(Relative(np("Mann")), "sich ärgern", np("Fehler", "def", "sg"), tense=Tense.PAST),
        "Ich kenne den Mann, der sich über den Fehler geärgert hat.",
        "I know the man who got annoyed about the mistake.",
    ),
]


@pytest.mark.parametrize(("inner", "german", "english"), RELATIVES)
def test_relative_clauses(inner, german, english):
    assert finish(say(act(ME, "kennen", relative(np("Mann"), inner)))) == (german, english)


def test_a_relative_clause_moves_behind_the_verbs_that_end_the_sentence():
    inner = act(YOU, "schreiben", Relative(np("Brief")), tense=Tense.PAST)
    said = act(ME, "lesen", relative(np("Brief"), inner), tense=Tense.PAST)
    german = "Ich habe den Brief gelesen, den du geschrieben hast."
    assert finish(say(said)) == (german, "I read the letter that you wrote.")
    subject = act(Relative(np("Frau")), "wohnen", Fixed(("in Wien", "in Vienna")))
    said = act(relative(np("Frau"), subject), "lachen", tense=Tense.PAST)
    german = "Die Frau, die in Wien wohnt, hat gelacht."
    assert finish(say(said)) == (german, "The woman who lives in Vienna laughed.")


EMBEDDED = [
    (
        act(HE, "aufmachen", np("Tür"), tense=Tense.PAST),
        ("er die Tür aufgemacht hat", "he opened the door"),
    ),
    (act(HE, "aufmachen", np("Tür")), ("er die Tür aufmacht", "he opens the door")),
    (
        act(np("Frau"), "sich erinnern", np("Kind"), negation="not"),
        ("sich die Frau nicht an das Kind erinnert", "the woman does not remember the child"),
    ),
    (
        act(YOU, "zumachen", np("Fenster"), modal="want", tense=Tense.PAST),
        ("du das Fenster zumachen wolltest", "you wanted to close the window"),
    ),
]


@pytest.mark.parametrize(("clause", "expected"), EMBEDDED)
def test_verbs_end_embedded_clauses(clause, expected):
    assert say_embedded(clause) == expected


QUESTIONS = [
    (
        act(YOU, "sehen", np("Bus"), tense=Tense.PAST),
        "first",
        "Hast du den Bus gesehen?",
        "Did you see the bus?",
    ),
    (
        act(POLITE, "warten", Interrogative(True), progressive=True, front="question"),
        "second",
        "Auf wen warten Sie?",
        "Who are you waiting for?",
    ),
    (
        act(SHE, "kaufen", np("Hut", "welch"), tense=Tense.PAST, front="question"),
        "second",
        "Welchen Hut hat sie gekauft?",
        "Which hat did she buy?",
    ),
    (
        act(Interrogative(True), "kaufen", np("Hut"), tense=Tense.PAST),
        "second",
        "Wer hat den Hut gekauft?",
        "Who bought the hat?",
    ),
    (
        act(HE, "lachen", tense=Tense.PAST, question=("warum", "why")),
        "second",
        "Warum hat er gelacht?",
        "Why did he laugh?",
    ),
    (
        Clause(WE, predicate=Predicate(place=("zu Hause", "at home")), tense=Tense.PAST),
        "first",
        "Waren wir zu Hause?",
        "Were we at home?",
    ),
]


@pytest.mark.parametrize(("clause", "order", "german", "english"), QUESTIONS)
def test_questions(clause, order, german, english):
    assert finish(say(clause, order, "question"), "?") == (german, english)


def test_infinitives_and_requests():
    opening = act(ME, "aufmachen", np("Tür"))
    assert say(opening, "infinitive", "infinitive") == ("die Tür aufzumachen", "to open the door")
    please = (Adverbial("please", ("bitte", "")),)
    request = act(POLITE, "treffen", SHE, adverbials=please)
    assert finish(say(request, "first", "imperative"), "!") == (
        "Treffen Sie sie bitte!",
        "Please meet her!",
    )


def test_compounds_are_one_word_in_german_and_two_in_english():
    lamp = compound(("Küchen", "kitchen"), LEXICON.noun_named["Lampe"])
    said = act(ME, "sehen", NounPhrase(lamp, "pl"), tense=Tense.PAST)
    assert finish(say(said)) == ("Ich habe die Küchenlampen gesehen.", "I saw the kitchen lamps.")


def test_the_lexicon_is_large_and_unambiguous():
    assert len(LEXICON.nouns) >= 150
    assert len(LEXICON.verbs) >= 80
    assert sum(map(len, LEXICON.adjectives.values())) >= 60
    assert len(LEXICON.names["women"]) + len(LEXICON.names["men"]) >= 60
    # One German word, one English translation: what is ambiguous is left to documents.
    meanings = [noun.german for noun in LEXICON.nouns]
    assert len(set(meanings)) == len(meanings)
    for direction in ("de-en", "en-de"):
        for term in read_terms(direction):
            for sense in term.senses:
                assert sense.german not in LEXICON.noun_named
                assert sense.english not in {noun.english for noun in LEXICON.nouns}


def test_the_two_senses_of_a_term_share_their_source_word_only():
    for term in read_terms("de-en"):
        first, second = term.senses
        assert (first.german, first.gender) == (second.german, second.gender)
        assert first.english != second.english
        assert min(map(len, term.clues)) >= 2
    for term in read_terms("en-de"):
        first, second = term.senses
        assert first.english == second.english
        assert first.german != second.german


def test_a_scope_keeps_genders_out():
    scope = Scope(people="n", things="n", pronouns=False)
    speaker = Sentences(LEXICON, Chance(1), scope)
    words = {word.strip(".,?!") for _ in range(300) for word in speaker.sentence()[0].split()}
    barred = {
        noun.german
        for noun in LEXICON.nouns
        if noun.gender != "n" and noun.german != noun.german_plural and noun.german_plural
    }
    # um drei Uhr mentions no clock.
    assert not words & barred - {"Uhr"}
    nobody = Sentences(LEXICON, Chance(1), Scope(people="", things=""))
    with pytest.raises(UnsayableError):
        nobody.name()


def test_frequent_choices_come_first_and_rare_ones_still_come():
    chance = Chance(1)
    drawn = [chance.common(range(30)) for _ in range(20_000)]
    counts = [drawn.count(item) for item in range(30)]
    assert counts[0] > 2 * counts[3] > 4 * counts[15] > 0
    assert counts[29] > 20
    assert all(2 <= chance.log_between(2, 9) <= 9 for _ in range(1000))


def test_frames_of_verbs_are_read():
    frame = verb("warten").frames[0]
    assert frame == Frame("acc", "auf", ("human", "vehicle", "text"), "for", False)
