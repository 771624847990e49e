"""What the benchmark drivers and `cpool bench` share: cases, peers, timing, the machine, goals.

The drivers import it from here, beside whichever build of cpool they measure; a wheel carries it as cpool.harness.
"""
