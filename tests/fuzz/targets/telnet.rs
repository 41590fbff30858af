//! Fuzzes `roomcast::properties::check_telnet`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roomcast::properties::check_telnet(bytes));
