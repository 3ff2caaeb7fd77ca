"""A German-English grammar of our own: one meaning, said in both languages.

`lexicon` reads the tables, `phrases` holds meanings, `german` and `english` say them,
`sentences` draws meanings at random, `documents` strings them together around probes.
"""
