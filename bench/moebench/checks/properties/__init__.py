"""The checks, a module a theme. Each is one property; its docstring is the property in one sentence."""
