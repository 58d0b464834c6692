//! What the verbs print: results to stdout, everything said to a person about them to stderr.
//! A reader that has gone away (`| head`) ends the printing, not with a panic.

use std::io::{self, Write};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For reading.
    #[default]
    Text,
    /// One JSON value.
    Json,
}

/// Writes to stdout as it is and flushes. Logs and results may lack the last line's end.
pub fn raw(text: &str) {
    let mut out = io::stdout().lock();
    // nobody is left to be told when stdout is closed
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes one line to stdout.
pub fn line(text: &str) {
    raw(&format!("{text}\n"));
}

/// Writes a JSON value and a line's end to stdout.
pub fn json(value: &serde_json::Value) {
    line(&value.to_string());
}

/// Says something to the person, on stderr.
pub fn note(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Says what went wrong, on stderr.
pub fn complain(text: &str) {
    note(&format!("error: {}\n", text.trim_end()));
}

/// Lays out rows under a heading, columns two spaces apart.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let heading = heading.iter().map(|title| (*title).to_owned()).collect();
    let lines = std::iter::once(&heading).chain(rows).map(|row: &Vec<String>| one_line(row, &widths));
    lines.collect::<Vec<_>>().join("\n")
}

fn one_line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "long cell".into()], vec!["äöü".into(), String::new()]];
        assert_eq!(table(&["ONE", "TWO"], &rows), "ONE  TWO\na    long cell\näöü");
        assert_eq!(table(&["ONE"], &[]), "ONE");
    }
}
