"""`python -m mmforget` is the command `mmforget`."""

import sys

from mmforget.cli.main import main

sys.exit(main())
