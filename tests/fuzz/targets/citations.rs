//! Fuzzes the citation checker: any text, cut anywhere, gives the same answer, and every citation names a
//! source.
#![no_main]

use docent::rag::citations::Citations;

const SOURCES: usize = 3;

libfuzzer_sys::fuzz_target!(|input: (String, Vec<u8>)| {
    let (text, cuts) = input;
    let mut whole = Citations::new(SOURCES);
    let mut expected = whole.push(&text);
    let (rest, checked) = whole.finish();
    expected.push_str(&rest);
    assert!(checked.cited.iter().all(|number| (1..=SOURCES).contains(number)));

    let mut pieces = Citations::new(SOURCES);
    let (mut joined, mut left) = (String::new(), text.as_str());
    for cut in cuts {
        let (piece, after) = left.split_at(left.floor_char_boundary(usize::from(cut).min(left.len())));
        joined.push_str(&pieces.push(piece));
        left = after;
    }
    joined.push_str(&pieces.push(left));
    let (rest, again) = pieces.finish();
    joined.push_str(&rest);
    assert_eq!((joined, again.cited, again.refused), (expected, checked.cited, checked.refused));
});
