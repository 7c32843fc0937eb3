"""From the native files of a corpus to dialogues."""
