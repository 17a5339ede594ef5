//! Prints lines on standard output.

/// Prints a line; a closed standard output is no error, because the reader of a pipe may have seen enough.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stdout(), $($line)*));
    }};
}

pub(super) use say;
