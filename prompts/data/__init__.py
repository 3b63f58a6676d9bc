"""Where rows come from: one module for each kind of source; none imports a framework."""
