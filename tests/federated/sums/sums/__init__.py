"""A Flower app that adds up what nodes send."""
