"""How every figure looks, on a page and as a file: matplotlib's SVG in colours that follow the page's theme."""
