"""`python -m lakehouse` is `lakehouse`."""

from lakehouse.cli import main

if __name__ == "__main__":
    main()
