"""The asv suite: one class per regime. It runs against any version of cpool; what a version lacks is skipped."""

import sys
from pathlib import Path

# asv imports this package alone; the shapes and the rest of what it shares with the drivers lie beside it
sys.path.append(str(Path(__file__).resolve().parents[1]))
