//! Faults of a cluster with real NATS servers: NATS servers that die, links that break, and members that come and go
//! meanwhile.

#![cfg(feature = "cluster")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

mod cluster_faults {
    mod churn;
    mod links;
    mod publisher;
    mod routes;
}
