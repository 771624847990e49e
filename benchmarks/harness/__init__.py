"""What the benchmark drivers share: cases, peers, timing, the machine, goals."""
