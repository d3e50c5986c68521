//! Starting a daemon that must not start.

use std::path::Path;

use privatelink_tests::{Home, Lab, binary};

/// Where a daemon is to live.
pub(crate) struct Paths {
    pub(crate) socket: String,
    pub(crate) state: String,
    pub(crate) pins: String,
}

impl Paths {
    pub(crate) fn of(home: &Home) -> Self {
        let text = |path: &Path| path.display().to_string();
        Self { socket: text(&home.socket()), state: text(&home.state()), pins: text(home.pins()) }
    }
}

/// Starts a daemon that must end by itself, perhaps by way of another program. Returns its exit code and what it said,
/// without the log.
pub(crate) fn refused(
    lab: &Lab,
    by: &[&str],
    program: &Path,
    config: &Path,
    at: &Paths,
) -> (i32, Vec<String>) {
    // 124 if it runs after all.
    let mut command = lab.gateway().command("timeout");
    command.arg("20").args(by).arg(program).arg("run").arg("--config").arg(config);
    command.args(["--socket", &at.socket, "--state-dir", &at.state, "--pin-dir", &at.pins]);
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    let said = errors.lines().filter(|line| !line.starts_with('[')).map(str::to_owned).collect();
    (output.status.code().unwrap(), said)
}

pub(crate) fn refused_at(lab: &Lab, config: &Path, at: &Paths) -> (i32, Vec<String>) {
    refused(lab, &[], &binary().unwrap(), config, at)
}

/// Expects exit code 1 and one line with each of these words.
pub(crate) fn assert_line((code, said): &(i32, Vec<String>), words: &[&str]) {
    assert_eq!((*code, said.len()), (1, 1), "{said:?}");
    assert!(said[0].starts_with("privatelink: "), "{said:?}");
    for word in words {
        assert!(said[0].contains(word), "{word:?} in {said:?}");
    }
}
