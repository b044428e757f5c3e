"""The network and its mathematics: torch and numpy, no queue, no HTTP, no disk layout."""
