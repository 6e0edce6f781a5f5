"""``python -m yolact``."""

import sys

from yolact.cli.main import main

sys.exit(main())
