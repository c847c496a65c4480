"""What `make demo` shows: two model servers, the proxy in front of them, a load, and what became of it."""
