//! How a command fails: one line on stderr, a hint if there is a cure, and an exit code.

use std::{io::Write as _, process::ExitCode};

use weltenwind_core::{Class, Classify, Code, chain};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

/// The exit codes of contract and help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Conflict = 4,
    NotAllowed = 5,
    Findings = 6,
    TryLater = 75,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn report(self) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        // Where stderr itself is gone, the exit code still says it.
        let _ = writeln!(stderr, "error: {}", one_line(&self.message));
        if let Some(hint) = self.hint {
            let _ = writeln!(stderr, "hint: {}", one_line(&hint));
        }
        ExitCode::from(self.exit as u8)
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> (Exit, &str, Option<&str>) {
        (self.exit, &self.message, self.hint.as_deref())
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl<E: Classify + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let exit = match error.class() {
            Class::Malformed | Class::Invalid => Exit::Usage,
            Class::NotFound => Exit::NotFound,
            Class::Conflict | Class::Gone => Exit::Conflict,
            Class::Unauthenticated | Class::Forbidden => Exit::NotAllowed,
            Class::Throttled | Class::Unavailable => Exit::TryLater,
            Class::Internal => Exit::Failed,
        };
        let failure = Self::new(exit, chain(&error));
        match error.code() {
            Code::SlugTaken => failure.hint("give another one with --slug"),
            Code::WorldNotFound => failure.hint("`weltenwind world list` shows the worlds there are"),
            _ => failure,
        }
    }
}
