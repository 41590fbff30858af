//! The model: what a server of the contract does, as a plain sequential program, and histories that compare the server
//! with it.
//!
//! `model/reference.rs` is the model. `model/history.rs` generates what clients do, `model/sequential.rs` runs it step by
//! step and compares each client's bytes after each step. `model/script.rs` generates what clients do at the same moment,
//! `model/concurrent.rs` runs it, and `model/merge.rs` derives the order of each room from its members' streams and
//! replays it.
//!
//! `ROOMCAST_MODEL_HISTORIES` sets the number of histories. A history that fails is shrunk and kept in
//! `proptest-regressions/model.txt`, and each run begins with the ones that are kept.

#![allow(unreachable_pub, clippy::expect_used, clippy::unwrap_used)]

#[path = "model/comparison.rs"]
mod comparison;
#[path = "model/concurrent.rs"]
mod concurrent;
#[path = "model/decoder.rs"]
mod decoder;
#[path = "model/history.rs"]
mod history;
#[path = "model/merge.rs"]
mod merge;
#[path = "model/recording.rs"]
mod recording;
#[path = "model/reference.rs"]
mod reference;
#[path = "model/script.rs"]
mod script;
#[path = "model/sequential.rs"]
mod sequential;
#[path = "model/server.rs"]
mod server;
#[path = "model/wording.rs"]
mod wording;

use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestError, TestRunner};
use sequential::SequentialDriver;
use std::time::Instant;

/// The number of histories without `ROOMCAST_MODEL_HISTORIES`.
const HISTORIES: u32 = 2_000;

/// Returns a runner of `histories` histories, which keeps the ones that fail.
fn runner(histories: u32, kept_in: &'static str) -> TestRunner {
    TestRunner::new(Config {
        cases: histories,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept_in))),
        max_shrink_iters: 4_000,
        max_shrink_time: 30_000,
        ..Config::default()
    })
}

fn histories() -> u32 {
    let wanted = std::env::var("ROOMCAST_MODEL_HISTORIES").ok();
    wanted.map_or(HISTORIES, |wanted| wanted.parse().expect("ROOMCAST_MODEL_HISTORIES is a number"))
}

#[test]
fn each_client_sees_the_bytes_of_the_model_in_histories_without_concurrency() {
    let (driver, start, histories) = (SequentialDriver::default(), Instant::now(), histories());
    let outcome = runner(histories, "proptest-regressions/model.txt")
        .run(&history::history(), |history| driver.run(&history).map_err(TestCaseError::fail));
    println!("{histories} histories in {:.1?}", start.elapsed());
    if let Err(TestError::Fail(reason, history)) = outcome {
        panic!("{reason}\nin the history {history:#?}");
    }
    outcome.unwrap();
}

#[test]
fn streams_of_concurrent_clients_agree_on_one_order_that_the_model_explains() {
    let (start, scripts) = (Instant::now(), histories() / 4);
    let outcome = runner(scripts, "proptest-regressions/model-concurrent.txt").run(&script::script(), |script| {
        let recordings = concurrent::run(&script).map_err(TestCaseError::fail)?;
        merge::check(&recordings).map_err(|error| TestCaseError::fail(format!("{error}\nin {recordings:#?}")))
    });
    println!("{scripts} scripts in {:.1?}", start.elapsed());
    if let Err(TestError::Fail(reason, script)) = outcome {
        panic!("{reason}\nin the script {script:#?}");
    }
    outcome.unwrap();
}
