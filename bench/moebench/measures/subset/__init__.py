"""A few experts of a trained model for each input: how they are chosen, what they keep, and what they cost.

Expert-subset inference (Algorithm 1 of arXiv 2409.00879) for every layer with a routing: inside each layer, for each
input, a score orders the experts, the ``k`` first act, and the work of the others is skipped. Nothing is retrained.
"""
