//! Fuzzes `roomcast::properties::check_input_line`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roomcast::properties::check_input_line(bytes));
