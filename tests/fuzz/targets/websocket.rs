//! Fuzzes `roomcast::properties::check_websocket`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roomcast::properties::check_websocket(bytes));
