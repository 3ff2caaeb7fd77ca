"""Translation with Transformers whose attention need not be softmax."""

import os

__version__ = "0.1.0"

# How long GNU OpenMP's threads wait busily for more work, read when torch is first imported. By
# default it is milliseconds, in which they keep the cores from threads of Python that multiply.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
