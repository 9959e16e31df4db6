"""The Python packages of other projects, which some tests compare with.

    import peers
    peers.need("tokenizers")
    from tokenizers import Tokenizer
"""
import importlib
import os
import sys


def need(*packages):
    """Returns where all can be imported. Else the test begins again in the interpreter that LORY_PYTHON names, and
    skips (77) if that lacks one, too. To be called before sys.argv is changed."""
    try:
        for name in packages:
            importlib.import_module(name)
    except ImportError:
        other = os.environ.pop("LORY_PYTHON", None)
        if other:
            os.execv(other, [other] + sys.argv)
        print("not installed, of what is needed:", ", ".join(packages))
        sys.exit(77)
