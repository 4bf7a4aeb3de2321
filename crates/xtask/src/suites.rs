//! Reads the output of `cargo test`: suites, their counts and seconds.

use std::fmt;
use std::time::Duration;

/// Tests passed and failed. Prints as `N passed, N failed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    /// Nothing failed, and something ran.
    pub(crate) fn is_success(self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    /// One more failure that no test reported: a compile error, a dead suite, a CI step.
    pub(crate) fn plus_failure(self) -> Self {
        Self { failed: self.failed + 1, ..self }
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// One test binary, or the doc tests of one crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suite {
    name: String,
    started: Duration,
    took: Duration,
    counts: Counts,
    /// Doc tests can print more than one; a suite without any has died.
    result_lines: u32,
}

/// Follows the lines of one `cargo test`, stdout and stderr in the order printed.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Result lines outside any suite; none are expected, none are lost.
    stray: Counts,
    suites: Vec<Suite>,
    built_at: Option<Duration>,
}

impl Watch {
    /// Takes the next line; `at` is the time since the start.
    pub(crate) fn line(&mut self, line: &str, at: Duration) {
        if let Some(name) = suite_name(line) {
            self.close(at);
            self.built_at.get_or_insert(at);
            let (took, counts) = (Duration::ZERO, Counts::default());
            self.suites.push(Suite { name, started: at, took, counts, result_lines: 0 });
        } else if let Some(counts) = result_counts(line) {
            match self.suites.last_mut() {
                Some(suite) => {
                    suite.counts = suite.counts.plus(counts);
                    suite.result_lines += 1;
                }
                None => self.stray = self.stray.plus(counts),
            }
        }
    }

    /// The sum and a table, slowest suite first. `is_exit_ok`: whether cargo itself reported success.
    pub(crate) fn finish(mut self, at: Duration, is_exit_ok: bool) -> (Counts, String) {
        self.close(at);
        let mut sum = self.suites.iter().fold(self.stray, |sum, suite| sum.plus(suite.counts));
        if !is_exit_ok && sum.failed == 0 {
            sum = sum.plus_failure();
        }
        self.suites.sort_by_key(|suite| std::cmp::Reverse(suite.took));
        let mut table = format!("{:>9}  {:>6}  {:>6}  suite\n", "seconds", "passed", "failed");
        for suite in &self.suites {
            let Counts { passed, failed } = suite.counts;
            let note = if suite.result_lines == 0 { "  (died without a result)" } else { "" };
            table += &format!("{:>9.2}  {passed:>6}  {failed:>6}  {}{note}\n", suite.took.as_secs_f64(), suite.name);
        }
        let build = self.built_at.unwrap_or(at);
        table += &format!("{:>9.2}  {:>6}  {:>6}  (build)\n", build.as_secs_f64(), "", "");
        (sum, table)
    }

    /// Ends the suite that is running, if any. One that printed no result counts as a failure.
    fn close(&mut self, at: Duration) {
        if let Some(suite) = self.suites.last_mut() {
            suite.took = at.saturating_sub(suite.started);
            if suite.result_lines == 0 {
                suite.counts = suite.counts.plus_failure();
            }
        }
    }
}

/// The suite that a line of cargo opens. Cargo right-aligns its verbs to 12 columns; tests hardly do.
fn suite_name(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("   Doc-tests ") {
        return Some(format!("{name} doc tests"));
    }
    let (source, binary) = line.strip_prefix("     Running ")?.strip_suffix(')')?.rsplit_once(" (")?;
    let file = binary.rsplit('/').next().unwrap_or(binary);
    let stem = file.rsplit_once('-').map_or(file, |(stem, _hash)| stem);
    Some(format!("{stem} {}", source.trim_start_matches("unittests ")))
}

/// The counts of a line `test result: ok. 3 passed; 0 failed; ...`.
fn result_counts(line: &str) -> Option<Counts> {
    let (verdict, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut columns = rest.split("; ");
    let passed = columns.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = columns.next()?.strip_suffix(" failed")?.parse().ok()?;
    let counts = Counts { passed, failed };
    Some(if verdict != "ok" && failed == 0 { counts.plus_failure() } else { counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str = "     Running unittests src/lib.rs (target/release/deps/model-0a1b2c)";
    const OK: &str = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
    const FAILED: &str =
        "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";

    fn counts_of(lines: &[&str], is_exit_ok: bool) -> Counts {
        let mut watch = Watch::default();
        for line in lines {
            watch.line(line, Duration::ZERO);
        }
        watch.finish(Duration::ZERO, is_exit_ok).0
    }

    #[test]
    fn result_lines_are_read() {
        assert_eq!(result_counts(OK), Some(Counts { passed: 3, failed: 0 }));
        assert_eq!(result_counts(FAILED), Some(Counts { passed: 1, failed: 2 }));
        assert_eq!(
            result_counts("test result: FAILED. 0 passed; 0 failed; 0 ignored"),
            Some(Counts { passed: 0, failed: 1 })
        );
    }

    #[test]
    fn other_lines_are_not_results() {
        for line in ["", "test a ... ok", "running 3 tests", "test result: ok", " test result: ok. 3 passed; 0 failed;"]
        {
            assert_eq!(result_counts(line), None, "{line}");
        }
    }

    #[test]
    fn suites_are_named_by_binary_and_source() {
        assert_eq!(suite_name(RUNNING).as_deref(), Some("model src/lib.rs"));
        assert_eq!(
            suite_name("     Running tests/two-way.rs (/t/deps/two_way-ff)").as_deref(),
            Some("two_way tests/two-way.rs")
        );
        assert_eq!(suite_name("   Doc-tests wire").as_deref(), Some("wire doc tests"));
        assert_eq!(suite_name("Running a server (127.0.0.1:0)"), None);
    }

    #[test]
    fn all_result_lines_are_summed() {
        let lines = [RUNNING, OK, "   Doc-tests model", OK, FAILED];
        assert_eq!(counts_of(&lines, false), Counts { passed: 7, failed: 2 });
    }

    #[test]
    fn dead_suite_counts_as_failed() {
        assert_eq!(counts_of(&[RUNNING, OK, RUNNING], true), Counts { passed: 3, failed: 1 });
        assert_eq!(counts_of(&[RUNNING, RUNNING, OK], false), Counts { passed: 3, failed: 1 });
    }

    #[test]
    fn failed_build_counts_as_failed() {
        assert_eq!(counts_of(&["error: could not compile `model`"], false), Counts { passed: 0, failed: 1 });
        assert_eq!(counts_of(&[RUNNING, OK], false), Counts { passed: 3, failed: 1 });
    }

    #[test]
    fn success_needs_a_test_that_ran() {
        assert!(counts_of(&[RUNNING, OK], true).is_success());
        assert!(!counts_of(&[], true).is_success());
        assert!(!counts_of(&[RUNNING, FAILED], false).is_success());
    }

    #[test]
    fn table_lists_slowest_first_and_the_build() {
        let mut watch = Watch::default();
        watch.line(RUNNING, Duration::from_secs(10));
        watch.line(OK, Duration::from_secs(11));
        watch.line("   Doc-tests wire", Duration::from_secs(11));
        watch.line(OK, Duration::from_secs(15));
        let (counts, table) = watch.finish(Duration::from_secs(16), true);
        let rows: Vec<&str> = table.lines().map(str::trim_start).collect();
        assert_eq!(rows.len(), 4);
        assert!(rows[1].starts_with("5.00") && rows[1].ends_with("wire doc tests"), "{table}");
        assert!(rows[2].starts_with("1.00") && rows[2].ends_with("model src/lib.rs"), "{table}");
        assert!(rows[3].starts_with("10.00") && rows[3].ends_with("(build)"), "{table}");
        assert_eq!(counts.to_string(), "6 passed, 0 failed");
    }
}
