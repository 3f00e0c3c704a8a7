//! Parses comma-separated values as a table of fields: the separators that spreadsheets write, quoted fields, and line ends of either
//! kind. Source of the format: RFC 4180.

use super::Complaint;

/// Separators that spreadsheets write; their list separator depends on the country.
const SEPARATORS: [char; 3] = [',', ';', '\t'];

/// Fields of a table with the place of each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Names of the columns.
    pub(super) header: Vec<String>,
    /// Place of the header.
    pub(super) begins: String,
    /// Place and fields of each row, as many fields as there are columns.
    pub(super) rows: Vec<(String, Vec<String>)>,
}

/// Splits a text into fields; lines count from 1. The separator is the one that the first line has most of.
pub(super) fn table(text: &str) -> Result<Table, Complaint> {
    let mut text = Cursor { rest: text, line: 1 };
    // A spreadsheet's own first line, which names the separator of the rest.
    let named = text.rest.trim_start_matches('"').strip_prefix("sep=").and_then(|rest| rest.chars().next());
    if named.is_some() {
        text.skip_line();
    }
    let first = text.rest.lines().next().unwrap_or_default();
    let most = SEPARATORS.into_iter().rev().max_by_key(|separator| first.matches(*separator).count());
    let separator = named.or(most).unwrap_or(',');
    let mut table: Option<Table> = None;
    while let Some((line, mut fields)) = text.record(separator)? {
        let place = format!("line {line}");
        if fields.iter().all(|field| field.trim().is_empty()) {
            continue;
        }
        let Some(table) = &mut table else {
            // A separator at the end of the line begins no column.
            let named = fields.iter().rposition(|field| !field.trim().is_empty()).map_or(0, |last| last + 1);
            fields.truncate(named);
            table = Some(Table { header: fields, begins: place, rows: Vec::new() });
            continue;
        };
        let columns = table.header.len();
        if fields.iter().skip(columns).all(|field| field.trim().is_empty()) {
            fields.truncate(columns.max(1));
        }
        if columns == 1 && fields.len() > 1 && table.rows.is_empty() {
            let valid = format!(
                "names of columns, as many as {place} has fields, {}: remove the lines above the table",
                fields.len()
            );
            return Err(Complaint::new(table.begins.clone(), "header", table.header.concat(), valid));
        }
        if fields.len() != columns {
            let valid = format!(
                "{}, as many as in the header: quote a field that contains {separator:?}, such as a decimal comma",
                table.header.len()
            );
            return Err(Complaint::new(place, "fields", fields.len().to_string(), valid));
        }
        table.rows.push((place, fields));
    }
    table
        .ok_or_else(|| Complaint::new("line 1", "header", "nothing", "names of columns, separated by commas"))
}

/// Place in a text.
struct Cursor<'a> {
    rest: &'a str,
    line: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        // A carriage return ends a line only where no line feed follows.
        self.line += usize::from(next == '\n' || (next == '\r' && !self.rest.starts_with('\n')));
        Some(next)
    }

    fn skip_line(&mut self) {
        while let Some(next) = self.next() {
            if next == '\n' {
                return;
            }
        }
    }

    /// Returns the line of the next record and its fields; `None` at the end of the text.
    fn record(&mut self, separator: char) -> Result<Option<(usize, Vec<String>)>, Complaint> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        let mut fields = Vec::new();
        loop {
            let (field, ended) = self.field(separator)?;
            fields.push(field);
            if ended {
                return Ok(Some((line, fields)));
            }
        }
    }

    /// Returns the next field, and whether it is the last of its record.
    fn field(&mut self, separator: char) -> Result<(String, bool), Complaint> {
        let (begin, mut field) = (self.line, String::new());
        let is_quoted = self.rest.starts_with('"');
        if is_quoted {
            self.next();
            loop {
                match self.next() {
                    Some('"') if self.rest.starts_with('"') => {
                        self.next();
                        field.push('"');
                    }
                    Some('"') => break,
                    Some(letter) => field.push(letter),
                    None => {
                        let valid = "a closing quote before the end of the file";
                        return Err(Complaint::new(
                            format!("line {begin}"),
                            "fields",
                            "a quote that is not closed",
                            valid,
                        ));
                    }
                }
            }
        }
        loop {
            match self.next() {
                None | Some('\n') => return Ok((field, true)),
                Some('\r') => {
                    if self.rest.starts_with('\n') {
                        self.next();
                    }
                    return Ok((field, true));
                }
                Some(letter) if letter == separator => return Ok((field, false)),
                Some(letter) if is_quoted && !letter.is_whitespace() => {
                    let valid = format!("{separator:?} or the end of the line");
                    let found = format!("{letter:?} after a closing quote");
                    return Err(Complaint::new(format!("line {begin}"), "fields", found, valid));
                }
                Some(_) if is_quoted => {}
                Some(letter) => field.push(letter),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<(String, Vec<String>)> {
        let table = table(text).unwrap();
        [vec![(table.begins, table.header)], table.rows].concat()
    }

    #[test]
    fn spreadsheets_and_programs_give_the_same_fields() {
        let plain = fields("task,success\nlift,1\npush,0\n");
        assert_eq!(plain[2], ("line 3".into(), vec!["push".into(), "0".into()]));
        for text in [
            "task;success\r\nlift;1\r\npush;0",
            "task\tsuccess\nlift\t1\npush\t0\n",
            "\"task\",\"success\"\n\"lift\",\"1\"\n\"push\",0\n",
            "task,success\rlift,1\rpush,0\r",
        ] {
            assert_eq!(fields(text), plain, "{text:?}");
        }
        for first in ["sep=;", "\"sep=;\""] {
            let named = fields(&format!("{first}\r\ntask;success\r\nlift;1\r\n"));
            assert_eq!(named[0], ("line 2".into(), vec!["task".into(), "success".into()]));
        }
        for text in [
            "task,success,\nlift,1,\npush,0,\n",
            "task,success,,\nlift,1\npush,0\n",
            "task,success\nlift,1,\npush,0,,\n",
        ] {
            assert_eq!(fields(text), plain, "separators at the ends of lines: {text:?}");
        }
    }

    #[test]
    fn quotes_keep_separators_quotes_and_lines() {
        let found = fields("task,success\n\"put \"\"it\"\",\nthere\",1\n\nlift,0\n");
        assert_eq!(found[1], ("line 2".into(), vec!["put \"it\",\nthere".into(), "1".into()]));
        assert_eq!(found[2].0, "line 5", "a line within a field and an empty one count");
    }

    #[test]
    fn an_invalid_table_is_named_by_line() {
        for (text, said) in [
            (
                "Results of run 3\ntask,success\nlift,0\n",
                "line 1: header: found Results of run 3; valid is names of columns",
            ),
            ("task,success\nlift,0,5\n", "line 2: fields: found 3; valid is 2, as many as in the header"),
            ("task,success\nlift,1\n\"push,0\n", "line 3: fields: found a quote that is not closed"),
            ("task,success\n\"lift\"er,1\n", "line 2: fields: found 'e' after a closing quote"),
            ("\n \n", "line 1: header: found nothing"),
        ] {
            let error = table(text).unwrap_err().to_string();
            assert!(error.contains(said), "{said:?} is missing from: {error}");
        }
    }
}
