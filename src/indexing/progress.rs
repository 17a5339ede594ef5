//! How far a run has come: a bar on a terminal, a line now and then elsewhere, nothing where nobody asked.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Lines of a run that is not shown on a terminal.
const LINES: usize = 10;

/// Shows a run's progress on standard error.
#[derive(Debug)]
pub enum Progress {
    /// Not at all.
    Silent,
    /// On a terminal.
    Bar(ProgressBar),
    /// In a log.
    Lines {
        /// Passages in all.
        total: usize,
        /// At how many the next line is due.
        next: usize,
    },
}

impl Progress {
    /// A bar if standard error is a terminal, else lines.
    pub fn shown() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
        } else {
            Self::Lines { total: 0, next: 0 }
        }
    }

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

    pub(super) fn at(&mut self, passages: usize, embedded: usize) {
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

    pub(super) fn end(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
