"""What keeps other people and other pages out."""
