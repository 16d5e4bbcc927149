"""How figures look and are written; ``benchmark.plots`` and ``pretrain.plot`` draw them.

Figures are drawn by matplotlib, which is imported only within functions, without a display and without the user's own
settings, so that the same table gives the same bytes.
"""
