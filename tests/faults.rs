//! Faults of the machine, of the network and of the server's own code: descriptors, resets, stops, clocks, the log's
//! reader, signals during attacks, and restarts.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

mod faults {
    mod attacks;
    mod clock;
    mod conversation;
    mod descriptors;
    mod log_output;
    mod resets;
    mod restart;
    mod stops;
}
