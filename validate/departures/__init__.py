"""Known departures of a platform's kernels, and what it takes to accept one."""
