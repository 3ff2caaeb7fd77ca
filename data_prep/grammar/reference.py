"""Who is meant: personal pronouns, whose something is, and what takes up a phrase."""

from .phrases import Name, NounPhrase, Owner, Phrase, Pronoun, Relative

ME = Pronoun(1)
YOU = Pronoun(2)
WE = Pronoun(1, "pl")
THEY = Pronoun(3, "pl")
POLITE = Pronoun(2, polite=True)
HE = Pronoun(3, "sg", "m", "m")
SHE = Pronoun(3, "sg", "f", "f")


def owner_of(phrase: Phrase) -> Owner | None:
    """Whose things `sein`, `ihr`, `mein` are when this is the subject; None where it is unclear."""
    match phrase:
        case Pronoun():
            return Owner(
                phrase.person, phrase.number, phrase.gender, phrase.english_gender, phrase.polite
            )
        case Name() if phrase.gender:
            return Owner(3, "sg", phrase.gender, phrase.gender)
        case NounPhrase(noun=noun) if phrase.number == "pl" and noun.human:
            return Owner(3, "pl", "", "")
        case NounPhrase(noun=noun) if noun.human and noun.gender != "n":
            return Owner(3, "sg", noun.gender, noun.gender)
        case Relative():
            return owner_of(phrase.antecedent)
    return None


def pronoun_for(phrase: Phrase) -> Pronoun | None:
    """The personal pronoun that takes up this phrase; None where it is unclear."""
    match phrase:
        case Pronoun():
            return phrase
        case Name() if phrase.number == "pl":
            return THEY
        case Name():
            return Pronoun(3, "sg", phrase.gender, phrase.gender)
        case NounPhrase() if phrase.number == "pl":
            return THEY
        case NounPhrase(noun=noun) if not noun.human:
            return Pronoun(3, "sg", noun.gender, "n")
        case NounPhrase(noun=noun) if noun.gender != "n":
            return Pronoun(3, "sg", noun.gender, noun.gender)
    return None
