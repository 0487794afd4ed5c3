"""The API's messages, from and to the domain."""
