"""The images that the stages run in: how they are built, and an engine to build and run them with."""
