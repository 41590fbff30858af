//! Fuzzes `roomcast::properties::check_commands`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roomcast::properties::check_commands(bytes));
