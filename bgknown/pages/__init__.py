"""Pages that open from disk: one HTML file each, without a server, a network or a framework.

``shell`` puts a page together; what it is about comes from a template, a script and data of the page's own.
"""
