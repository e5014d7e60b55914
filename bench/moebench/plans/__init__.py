"""From a suite to the cells that have to be run: a plan is a function of the suite, the code and the records."""
