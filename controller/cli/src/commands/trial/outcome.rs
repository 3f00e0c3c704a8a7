//! What a person says of an episode after it.

use aegis_experiments::field::log::Outcome;
use aegis_experiments::field::plan::OutcomeSource;

use crate::commands::person::Answer;

/// The question.
pub const QUESTION: &str = "did it succeed? y or n, a remark may follow; r and a reason to repeat it";

/// Reads an answer: `y` or `n` with or without a remark, or `r` with a reason. `None` for other text.
pub fn outcome(Answer { word, remark }: Answer<'_>) -> Option<Outcome> {
    match word {
        "y" | "n" => {
            let note = (!remark.is_empty()).then_some(remark);
            Some(Outcome::Done { success: word == "y", by: OutcomeSource::Person, note })
        }
        "r" if !remark.is_empty() => Some(Outcome::Repeated { reason: remark }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_one_letter_and_a_remark() {
        let answer = |line| outcome(Answer::of(line));
        let done = |success, note: Option<&str>| {
            Some(Outcome::Done { success, by: OutcomeSource::Person, note: note.map(Into::into) })
        };
        assert_eq!(answer("y"), done(true, None));
        assert_eq!(answer("  n   dropped\u{1b}[31m it \n"), done(false, Some("dropped[31m it")));
        let repeated = Outcome::Repeated { reason: "I bumped the table".into() };
        assert_eq!(answer("r I bumped the table"), Some(repeated));
        for unclear in ["", "r", "r  ", "yes", "Y", "maybe", "yn"] {
            assert_eq!(answer(unclear), None, "{unclear}");
        }
    }
}
