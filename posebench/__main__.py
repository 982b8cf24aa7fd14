"""`python -m posebench` is the `posebench` command."""

from posebench.cli import main

if __name__ == "__main__":
    main()
