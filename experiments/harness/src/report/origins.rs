//! The report's table of origins: the starts from which model and probe files were made, as stated by the files themselves.

use std::collections::BTreeSet;

use super::page::Layout;
use super::{Background, Table};
use crate::plan::Circumstances;
use aegis_probe::origin::{Origin, Statement, runs, spans};

impl Background<'_> {
    /// Returns a paragraph that summarises the statements: files without one, and remarks on those that state their starts.
    pub(super) fn origins_in_words(&self) -> String {
        let silent: BTreeSet<&str> =
            self.statements.iter().filter(|one| one.origin.is_none()).map(|one| one.file.as_str()).collect();
        let stated = self.statements.iter().any(|one| one.origin.is_some());
        let mut words = String::from(
            "The table above has the ranges of the plan, the table below the starts that the files of policies and probe state as \
             their origin. A study is refused where a file states a start of the confirmation range.",
        );
        if stated {
            words += " No stated start is one of this report.";
        }
        if !silent.is_empty() {
            let files = silent.into_iter().collect::<Vec<_>>().join(", ");
            words += &format!(
                " These files state no range, so only the plan claims that they share no start with this \
                 report: {files}."
            );
        }
        let suite_sha256 = self.lock.frozen.scenes.content_sha256();
        for remark in
            (Circumstances { plan: self.plan, suite_sha256: &suite_sha256 }).remarks(self.statements)
        {
            words += &format!(" {remark}");
        }
        words
    }

    /// Returns the table of every range of starts that a file states.
    pub(super) fn origins(&self) -> Table {
        let mut table =
            Table::new(&["file", "part", "initial states", "tasks", "seeds", "SHA-256 of the list"])
                .laid_out(Layout::Facts);
        for Statement { file, part, origin, .. } in self.statements {
            let mut row = vec![file.clone(), part.clone()];
            row.extend(match origin {
                Some(origin) => cells(origin),
                None => ["states no range", "–", "–", "–"].map(str::to_owned),
            });
            table.rows.push(row);
        }
        table
    }
}

fn cells(Origin { suite, starts, master_seed, sample_seed, .. }: &Origin) -> [String; 4] {
    let tasks = spans(&runs(starts.tasks.iter().copied()));
    let sampled = sample_seed.map_or(String::new(), |seed| format!(", of starts {seed}"));
    [
        spans(&starts.initial_states),
        format!("{tasks} of {suite}"),
        format!("{master_seed}{sampled}"),
        starts.sha256.clone(),
    ]
}
