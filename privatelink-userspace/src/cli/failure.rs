//! How a command fails: an exit code and one plain line per mistake.

use std::fmt::Write;

/// Exit code of a failure that is not the user's mistake.
pub(super) const FAILED: u8 = 1;

/// Exit code of a mistake in the usage or in the configuration.
pub(super) const MISTAKE: u8 = 2;

/// Why a command did not succeed.
///
/// The error's own text is one line per problem that says what to do; it must not rely on its
/// sources, which are shown with `--log debug` only.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// A mistake in the usage or in the configuration, exit code 2.
    pub(super) fn mistake(error: impl Into<anyhow::Error>) -> Self {
        Self { code: MISTAKE, error: error.into() }
    }

    pub(super) const fn code(&self) -> u8 {
        self.code
    }

    /// The lines for standard error, with the chain of causes if asked for.
    pub(super) fn render(&self, causes: bool) -> String {
        let mut text = String::new();
        for line in self.error.to_string().lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "privatelink: {line}");
        }
        let chain = self.error.chain().skip(1).filter(|_| causes);
        for cause in chain {
            let _ = writeln!(text, "privatelink: caused by: {cause}");
        }
        text
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    /// Any other failure, exit code 1.
    fn from(error: E) -> Self {
        Self { code: FAILED, error: error.into() }
    }
}

/// A mistake on the command line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Condenses clap's paragraphs (what is wrong, tips, usage) into one line.
pub(super) fn usage_failure(rendered: &str) -> Failure {
    let mut paragraphs = rendered.split("\n\n").map(|paragraph| {
        paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>()
    });
    let mistake = paragraphs.next().unwrap_or_default().join(" ");
    let mistake = mistake.strip_prefix("error: ").unwrap_or(&mistake).trim_end_matches(':');
    let mut tips = String::new();
    let mut command = "privatelink".to_owned();
    for line in paragraphs.flatten() {
        if let Some(usage) = line.strip_prefix("Usage: ") {
            let words = usage.split(' ').take_while(|word| !word.starts_with(['[', '<', '-']));
            command = words.collect::<Vec<_>>().join(" ");
        } else if let Some(tip) = line.strip_prefix("tip: ") {
            tips.push_str("; ");
            tips.push_str(tip);
        }
    }
    Failure::mistake(UsageError(format!("{mistake}{tips}: see `{command} --help`")))
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn causes_show_only_when_asked_for() {
        let error = Err::<(), _>(anyhow!("no such device")).context("cannot attach eth9: check it");
        let failure = Failure::from(error.unwrap_err());
        assert_eq!(failure.code(), 1);
        assert_eq!(failure.render(false), "privatelink: cannot attach eth9: check it\n");
        assert_eq!(
            failure.render(true),
            "privatelink: cannot attach eth9: check it\nprivatelink: caused by: no such device\n"
        );
    }

    #[test]
    fn each_problem_has_its_line() {
        let failure = Failure::mistake(anyhow!("a.toml:3: one\na.toml:7: two"));
        assert_eq!(failure.code(), 2);
        assert_eq!(
            failure.render(false),
            "privatelink: a.toml:3: one\nprivatelink: a.toml:7: two\n"
        );
    }
}
