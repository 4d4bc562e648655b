"""`python -m ingress_controller` and the script `ingress-controller`."""

import sys

from ingress_controller.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
