"""What a run says, in words and pictures; nothing here imports torch."""
