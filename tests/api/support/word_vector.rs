//! Makes dense vectors of texts without a model.

/// Returns a vector of `size` values; two texts are as alike as the words they share.
pub fn word_vector(text: &str, size: usize) -> Vec<f32> {
    let mut values = vec![0.01; size];
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let place = word.bytes().fold(7_usize, |hash, byte| (hash * 31 + usize::from(byte)) % size);
        values[place] += 1.0;
    }
    values
}
