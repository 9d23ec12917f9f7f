"""Push and pull: files on the Hub, cards, metric Spaces."""
