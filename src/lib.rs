//! Roomcast: a lock-free sharded multi-room chat server.
