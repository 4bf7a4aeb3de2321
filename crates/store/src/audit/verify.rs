use serde_json::Value;

use super::chain::{BROKEN, anchor};
use super::expire::EXPIRE;
use super::head::{HEAD_MISSING, Head, Kept};
use crate::{Store, StoreError};

/// What a walk over the whole audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Rows that are there.
    pub rows: u64,
    /// The last row that was removed because of its age; 0 when none was.
    pub expired: u64,
    /// The last row that is as it was written. Note it elsewhere: it proves later that all before it is unchanged.
    pub head: Head,
    /// Rows that say that no head was beside the audit when the store was opened. A person judges.
    pub without_head: Vec<u64>,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
}

/// Something is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {sequence}: {problem}")]
pub struct Fault {
    /// The row, or the one that is not there.
    pub sequence: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a row of the audit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The hash is not that of the row behind the one before.
    #[error("it was changed, moved or put in: its hash is not that of what it says after the row before")]
    Changed,
    /// Its number is not there, and later ones are.
    #[error("it was removed; the next row is {next}")]
    Removed {
        /// The number of the next row.
        next: u64,
    },
    /// A column cannot be read.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// What SQLite says.
        reason: String,
    },
    /// A head that was kept or noted lies beyond the end.
    #[error("the end was cut: {head} was there, and the last row is {last}")]
    Cut {
        /// The head.
        head: Head,
        /// The last row that is there.
        last: u64,
    },
    /// A head that was kept or noted is another row.
    #[error("it was rewritten: it had the hash {}", head.hex())]
    Rewritten {
        /// The head.
        head: Head,
    },
    /// The file with the head cannot be read.
    #[error("the file with the head of the audit cannot be read")]
    HeadUnreadable,
    /// Nothing says that rows were removed because of their age.
    #[error("rows up to it are gone, and no row says that they were removed because of their age")]
    AnchorUnknown,
    /// Muster itself wrote that rows were not there any more.
    #[error("it says that the audit was changed while Muster ran, or between two runs: {detail}")]
    Broken {
        /// What it says.
        detail: String,
    },
}

/// The walk so far.
struct Walk {
    anchor: Head,
    before: Head,
    rows: u64,
    heads: Vec<Head>,
    expired: Option<(u64, String)>,
    without_head: Vec<u64>,
    /// A row that says that something is wrong; what the walk finds itself comes first.
    told: Option<Fault>,
    fault: Option<Fault>,
}

impl Store {
    /// Walks over the whole audit and names the first row that was changed, removed, swapped or added without its hash,
    /// and an end that was cut. `noted` are heads that somebody kept elsewhere. Costs a hash a row.
    ///
    /// # Errors
    /// [`StoreError`]: the file cannot be read at all.
    pub fn verify_audit(&self, noted: &[Head]) -> Result<Verdict, StoreError> {
        // The head first: while it is compared rows may be added, and none is taken away.
        let kept = self.head.as_ref().map_or(Ok(Kept::Nothing), |file| file.read())?;
        self.read_apart(|connection| {
            let anchor = anchor(connection)?;
            let mut walk = Walk::from(anchor, noted.to_vec());
            if let Kept::Head(head) = kept {
                walk.heads.push(head);
            }
            let walked = Store::walk(connection, &mut |row, hash| walk.step(&row, hash));
            if let Err(StoreError::Sqlite(error)) = walked {
                walk.fail(walk.before.sequence + 1, Problem::Unreadable { reason: error.to_string() });
            } else {
                walked?;
            }
            Ok(walk.end(&kept))
        })
    }
}

impl Walk {
    fn from(anchor: Head, heads: Vec<Head>) -> Self {
        Self {
            anchor,
            before: anchor,
            rows: 0,
            heads,
            expired: None,
            without_head: Vec::new(),
            told: None,
            fault: None,
        }
    }

    fn fail(&mut self, sequence: u64, problem: Problem) {
        if self.fault.is_none() {
            self.fault = Some(Fault { sequence, problem });
        }
    }

    /// Checks one row; tells whether to go on.
    fn step(&mut self, row: &super::chain::Stored<'_>, hash: [u8; 32]) -> bool {
        let expected = self.before.sequence + 1;
        if row.sequence != expected {
            self.fail(expected, Problem::Removed { next: row.sequence });
            return false;
        }
        if row.hash(&self.before.hash) != hash {
            self.fail(expected, Problem::Changed);
            return false;
        }
        self.before = Head { sequence: expected, hash };
        self.rows += 1;
        if let Some(head) = self.heads.iter().find(|head| head.sequence == expected && head.hash != hash) {
            let head = *head;
            self.fail(expected, Problem::Rewritten { head });
            return false;
        }
        match row.action {
            EXPIRE => {
                let detail: Value = serde_json::from_str(row.detail).unwrap_or_default();
                let hash = detail["hash"].as_str().unwrap_or_default().to_owned();
                self.expired = detail["up_to"].as_u64().map(|up_to| (up_to, hash));
            }
            HEAD_MISSING => self.without_head.push(expected),
            BROKEN if self.told.is_none() => {
                self.told =
                    Some(Fault { sequence: expected, problem: Problem::Broken { detail: row.detail.to_owned() } });
            }
            _ => {}
        }
        true
    }

    fn end(mut self, kept: &Kept) -> Verdict {
        let (anchor, last) = (self.anchor, self.before);
        let is_known = match &self.expired {
            Some((up_to, hash)) => *up_to == anchor.sequence && *hash == anchor.hex(),
            None => anchor == Head { sequence: 0, hash: [0; 32] },
        };
        if !is_known {
            self.fail(anchor.sequence, Problem::AnchorUnknown);
        }
        if let Some(head) = self.heads.iter().copied().find(|head| head.sequence > last.sequence) {
            self.fail(last.sequence + 1, Problem::Cut { head, last: last.sequence });
        }
        if matches!(kept, Kept::Garbled) {
            self.fail(last.sequence, Problem::HeadUnreadable);
        }
        let fault = self.fault.or(self.told);
        Verdict { rows: self.rows, expired: anchor.sequence, head: last, without_head: self.without_head, fault }
    }
}
