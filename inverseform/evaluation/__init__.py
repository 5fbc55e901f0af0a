"""What evaluate finds: the counts of an image (`measures`), the table of a split (`images`), its figures (`figures`).

Everything that is counted adds: a figure of any set of images comes from the sum of their rows. So does that of a set
drawn from them with replacement, which is all that an interval by the bootstrap needs.
"""
