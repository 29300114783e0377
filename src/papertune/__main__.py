"""`python -m papertune`, which launchers of several processes ask for."""

from papertune.cli import main

if __name__ == "__main__":
    main()
