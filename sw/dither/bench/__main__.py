"""Prints one measurement and its peak memory as JSON; its name is the argument."""

import json
import resource
import sys

from .measurements import MEASUREMENTS

values = MEASUREMENTS[sys.argv[1]]()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(values | {"memory_mib": round(peak, 1)}))
