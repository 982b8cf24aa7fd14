"""The public Python API: `import posebench`. The command line is written on top of it.

Every function takes names, as the command line does, or the objects that the others return.
"""
