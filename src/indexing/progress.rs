//! Shows the progress of a run: a bar on a terminal, some lines elsewhere, or nothing.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Number of lines that a run prints if it has no terminal.
const LINES: usize = 10;

/// Shows a run's progress on standard error.
#[derive(Debug)]
pub enum RunProgress {
    /// Shows nothing.
    Silent,
    /// Shows a bar, on a terminal.
    Bar(ProgressBar),
    /// Prints lines, for a log.
    Lines {
        /// Number of passages of the run.
        total: usize,
        /// Number of passages at which the next line is printed.
        next: usize,
    },
}

impl RunProgress {
    /// Chooses a bar if standard error is a terminal, else lines.
    pub fn on_stderr() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
        } else {
            Self::Lines { total: 0, next: 0 }
        }
    }

    /// Shows how many passages the run has.
    pub(super) fn begin(&mut self, passages: usize) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => {
                let style = ProgressStyle::with_template("{bar:30} {pos} of {len} passages, {msg}{eta} left");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_length(passages as u64);
            }
            Self::Lines { total, next } => {
                eprintln!("{passages} passages; what is new is embedded");
                (*total, *next) = (passages, passages.div_ceil(LINES));
            }
        }
    }

    /// Shows how many passages are written, and how many of them were embedded.
    pub(super) fn update(&mut self, passages: usize, embedded: usize) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => {
                bar.set_position(passages as u64);
                bar.set_message(format!("{embedded} embedded, "));
            }
            Self::Lines { total, next } if passages >= *next => {
                eprintln!("{passages} of {total} passages, {embedded} embedded");
                *next = passages + total.div_ceil(LINES);
            }
            Self::Lines { .. } => {}
        }
    }

    /// Removes the bar.
    pub(super) fn end(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
