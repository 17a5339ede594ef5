//! Fuzzes the reader of pages: any source gives passages that are not empty, or a sentence that names the
//! fault.
#![no_main]

libfuzzer_sys::fuzz_target!(
    // The parser panics on odd input, which is caught. libFuzzer's hook would end the run all the same; a panic
    // that is not caught still ends it.
    init: std::panic::set_hook(Box::new(|_| ())),
    |source: &str| docent::fuzzing::check_page(source)
);
