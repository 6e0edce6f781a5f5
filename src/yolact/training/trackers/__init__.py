"""Where a run is told besides its directory. One file for each service, and it alone imports it."""
