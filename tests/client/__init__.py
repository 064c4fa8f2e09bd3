"""The producers' library."""
