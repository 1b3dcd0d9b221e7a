"""gRPC: who calls, whether they may, what they say; then one use case, and its answer as a message."""
