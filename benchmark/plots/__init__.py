"""Figures of results, one module for each kind, all with the same two names:

- ``ABOUT``: what the figure shows, in one line;
- ``list_drawings(material)``: its drawings, each with the table that it is drawn from. A drawing never mixes tasks,
  protocols or datasets. Where data are missing, it raises a ``NotFoundError`` that says which command makes them.
"""
