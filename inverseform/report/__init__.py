"""The HTML page on a trained segmenter (`page`), from a room for each of its sections.

One file, which needs no other and no network to be read. Every string that came from outside (names of classes,
of samples, settings) is escaped; every number stands beside a sentence that says what it means; what is red or blue is
told in words as well. The same contents give the same bytes.
"""
