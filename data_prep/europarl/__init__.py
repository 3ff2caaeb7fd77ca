"""Europarl v7's release as documents, for data_prep/europarl7.py.

`release` finds the archives' files, `source` reads per-day texts with their marks, `align` pairs
them by length (`gale_church`, `sentence_splitter`) and `pairs` finds the documents of aligned files
in them (`placing`, `sequence_match`, `fingerprints`); `assembly` puts both ways together and
`splits` deals days to training, validation and test.
"""
