"""The type checker that the tests put on the functions of the package that work on tensors."""

from beartype import BeartypeConf, beartype

# An int is a valid float, as for mypy.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
