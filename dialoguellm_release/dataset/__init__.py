"""From dialogues to the dataset folder."""
