"""Generating the meshes of a data set, and measuring how good they are."""
