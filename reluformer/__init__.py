"""Translation with Transformers whose attention need not be softmax."""

__version__ = "0.1.0"
