"""Help with the outside world: external tools, a cache of what they make, safely written files."""
