"""`python -m cpool` is the command `cpool`."""

from .cli import run

if __name__ == "__main__":
    run()
