//! The reader of pages: any source gives passages that are not empty, or a sentence that says what is wrong.
#![no_main]

libfuzzer_sys::fuzz_target!(|source: &str| docent::indexing::fuzz(source));
