"""What benchmarks call their parameters, for people to read."""

DIVISIBLE, RAGGED = DIVISIONS = ("divisible", "non-divisible")
FIRST, LAST = LAYOUTS = ("channels first", "channels last")
ONE, ALL = HOST = ("cpu, 1 thread", "cpu, all threads")
