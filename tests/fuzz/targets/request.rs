//! Fuzzes the parser of requests: any body gives a question within every bound, or an error that names fields.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| docent::fuzzing::check_request(body));
