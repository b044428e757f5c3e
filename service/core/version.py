"""The release of the project, which all its packages share."""

VERSION = "0.1.0"
