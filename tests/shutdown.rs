//! What clients see when the server ends.

mod common;

use common::{Client, DEADLINE, Program, TestServer, patient};
use roomcast::Config;
use std::time::Duration;

const NOTICE: &str = "*** server is shutting down";

/// Connections that are lost in the very moment in which the server ends: none of them may be
/// waited for in vain. (The farewell once missed a goodbye that came together with a failed
/// write.)
#[test]
fn clients_that_are_lost_at_the_end_do_not_hold_it_up() {
    for _ in 0..20 {
        let mut server = TestServer::start();
        let clients: Vec<Client> = (0..50).map(|n| server.join("room", &format!("u{n}"))).collect();
        clients.into_iter().for_each(Client::reset);
        server.begin_shutdown();
        server.wait();
    }
}
