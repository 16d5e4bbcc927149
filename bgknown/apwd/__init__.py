"""APwD, pairs of soundscapes that differ, with a text that says what to change.

``prepare`` makes the source tree, ``build`` renders published or drawn JAMS pairs, ``draw`` draws new pairs, and
``pairs.open_pairs`` renders on demand.

Source: D. Takeuchi, Y. Ohishi, D. Niizumi, N. Harada and K. Kashino, Introducing Auxiliary Text Query-modifier to
Content-based Audio Retrieval, Interspeech 2022.
"""
