//! Compares answers and problems with the expectations of a test, and shows the whole answer if they differ.

use serde_json::Value;

/// Checks the status and the `code` of a problem, in its body and in its head alike.
#[track_caller]
pub fn assert_problem((status, problem): &(u16, Value), expected: u16, code: &str) {
    assert_eq!(*status, expected, "the status of {problem:#}");
    assert_eq!(problem["code"], code, "the code of {problem:#}");
    assert_eq!(problem["status"], expected, "the status in {problem:#}");
    assert!(problem["request_id"].is_string(), "no request id in {problem:#}");
}

/// Checks that an answer came, with this text.
#[track_caller]
pub fn assert_answer((status, answer): &(u16, Value), response: &str) {
    assert_eq!(*status, 200, "the status of {answer:#}");
    assert_eq!(answer["response"], response, "the text of {answer:#}");
}

/// Checks that an answer came, with this status.
#[track_caller]
pub fn assert_answer_status((status, answer): &(u16, Value), expected: &str) {
    assert_eq!(*status, 200, "the status of {answer:#}");
    assert_eq!(answer["status"], expected, "the status in {answer:#}");
}
