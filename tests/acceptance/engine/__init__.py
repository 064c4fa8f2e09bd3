"""What issue `engine` must show, line by line."""
