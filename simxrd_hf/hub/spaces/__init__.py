"""The two Spaces: each folder is published as it is and also runs here."""
