"""Playing on the simulated cloud: the promises' witness, seeded days with faults, the demonstration."""
