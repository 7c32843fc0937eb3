"""Emotions of anybody's conversations, by a trained model."""
