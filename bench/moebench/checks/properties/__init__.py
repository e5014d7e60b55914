"""The checks, a module a theme. Each is one property, told by its docstring's one sentence."""
