"""Running a plan: a process for each cell, a scheduler that hands them out, and what a person sees meanwhile."""
