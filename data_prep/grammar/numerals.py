"""Numbers, clock times and dates in words and in digits."""

from .lexicon import Pair

_GERMAN_UNITS = (
    "null",
    "eins",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "elf",
    "zwölf",
    "dreizehn",
    "vierzehn",
    "fünfzehn",
    "sechzehn",
    "siebzehn",
    "achtzehn",
    "neunzehn",
)
_GERMAN_TENS = (
    "zwanzig",
    "dreißig",
    "vierzig",
    "fünfzig",
    "sechzig",
    "siebzig",
    "achtzig",
    "neunzig",
)
_ENGLISH_UNITS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_ENGLISH_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

MONTHS = [
    ("Januar", "January"),
    ("Februar", "February"),
    ("März", "March"),
    ("April", "April"),
    ("Mai", "May"),
    ("Juni", "June"),
    ("Juli", "July"),
    ("August", "August"),
    ("September", "September"),
    ("Oktober", "October"),
    ("November", "November"),
    ("Dezember", "December"),
]
WEEKDAYS = [
    ("Montag", "Monday"),
    ("Dienstag", "Tuesday"),
    ("Mittwoch", "Wednesday"),
    ("Donnerstag", "Thursday"),
    ("Freitag", "Friday"),
    ("Samstag", "Saturday"),
    ("Sonntag", "Sunday"),
]


def german_number(number: int) -> str:
    """0 to 999,999 as one word: dreihunderteinundzwanzig."""
    if number < 20:
        return _GERMAN_UNITS[number]
    if number < 100:
        tens, units = divmod(number, 10)
        ten = _GERMAN_TENS[tens - 2]
        return f"{_german_stem(units)}und{ten}" if units else ten
    size, word = (1000, "tausend") if number >= 1000 else (100, "hundert")
    many, rest = divmod(number, size)
    head = ("ein" if many == 1 else german_number(many)) + word
    return head + (german_number(rest) if rest else "")


def _german_stem(units: int) -> str:
    return "ein" if units == 1 else _GERMAN_UNITS[units]


def english_number(number: int) -> str:
    """0 to 999,999: three hundred and twenty-one."""
    if number < 20:
        return _ENGLISH_UNITS[number]
    if number < 100:
        tens, units = divmod(number, 10)
        ten = _ENGLISH_TENS[tens - 2]
        return f"{ten}-{_ENGLISH_UNITS[units]}" if units else ten
    size, word = (1000, "thousand") if number >= 1000 else (100, "hundred")
    many, rest = divmod(number, size)
    head = f"{english_number(many)} {word}"
    if not rest:
        return head
    return f"{head} and {english_number(rest)}" if rest < 100 else f"{head} {english_number(rest)}"


def clock(hour: int, minute: int) -> Pair:
    """um halb vier = at half past three; hour 1 to 12, minute 0, 15, 30 or 45."""
    later = hour % 12 + 1
    if minute == 0:
        return f"um {_german_stem(hour)} Uhr", f"at {english_number(hour)} o'clock"
    if minute == 15:
        return f"um Viertel nach {german_number(hour)}", f"at a quarter past {english_number(hour)}"
    if minute == 30:
        return f"um halb {german_number(later)}", f"at half past {english_number(hour)}"
    return f"um Viertel vor {german_number(later)}", f"at a quarter to {english_number(later)}"


def date(day: int, month: int) -> Pair:
    """am 3. Mai = on 3 May; month 0 to 11."""
    german, english = MONTHS[month]
    return f"am {day}. {german}", f"on {day} {english}"


def price(euros: int, cents: int) -> Pair:
    """2,50 Euro = 2.50 euros; 1.200 Euro = 1,200 euros"""
    whole = f"{euros:,}"
    fraction = f"{cents:02d}" if cents else ""
    german = whole.replace(",", ".") + (f",{fraction}" if fraction else "")
    english = whole + (f".{fraction}" if fraction else "")
    return f"{german} Euro", f"{english} euro{'' if english == '1' else 's'}"
