//! Fuzzes the decoder of Gemini's stream: any bytes, cut anywhere, give the same texts and the same end.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (body, cuts) = input;
    docent::fuzzing::check_gemini_stream(&body, &cuts);
});
