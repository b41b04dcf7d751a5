//! Where results go: a line of JSON for each, and aligned tables for people once all is measured.

use std::cell::RefCell;
use std::fmt::{self, Display};

use serde_json::{Map, Value};
use tabtune::gpu::AdapterSummary;

/// Standard output and standard error, or what stands for them in a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Results,
    Notes,
}

/// Collects what is measured on one adapter.
pub struct Output<'a> {
    write: &'a dyn Fn(Stream, &str),
    /// Where tables go: to the notes where a program reads the results.
    tables_to: Stream,
    adapter: String,
    tables: RefCell<Vec<Table>>,
}

impl<'a> Output<'a> {
    pub fn new(write: &'a dyn Fn(Stream, &str), tables_to: Stream, adapter: &AdapterSummary) -> Self {
        Output { write, tables_to, adapter: adapter_name(adapter), tables: RefCell::default() }
    }

    pub fn adapter(&self) -> &str {
        &self.adapter
    }

    /// Writes a result of the kind `bench`, with the adapter that it was measured on.
    pub fn result(&self, bench: &str, fields: Value) {
        let mut line = Map::new();
        line.insert("bench".to_owned(), bench.into());
        line.insert("adapter".to_owned(), self.adapter.as_str().into());
        if let Value::Object(fields) = fields {
            line.extend(fields);
        }
        self.raw(&Value::Object(line));
    }

    /// Writes one line of JSON as it is.
    pub fn raw(&self, line: &Value) {
        (self.write)(Stream::Results, &line.to_string());
    }

    /// Tells what is going on.
    pub fn note(&self, text: &str) {
        (self.write)(Stream::Notes, text);
    }

    /// Keeps a table for the end.
    pub fn table(&self, table: Table) {
        self.tables.borrow_mut().push(table);
    }

    /// Writes all tables.
    pub fn finish(&self) {
        for table in self.tables.borrow().iter() {
            (self.write)(self.tables_to, &format!("\n{table}"));
        }
    }
}

/// The adapter's name with what drives it; browsers often keep both to themselves.
pub fn adapter_name(adapter: &AdapterSummary) -> String {
    let name = if adapter.name.is_empty() { "unnamed" } else { &adapter.name };
    let driver = if adapter.driver.is_empty() { &adapter.backend } else { &adapter.driver };
    format!("{name} ({driver})")
}

/// A title, and rows of cells of which the first is aligned to the left and the others to the right.
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        Table { title: title.into(), rows: vec![columns.iter().map(|&column| column.to_owned()).collect()] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.rows[0].len(), "a row fills the columns of {:?}", self.title);
        self.rows.push(cells);
    }
}

impl Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        write!(formatter, "{}", self.title)?;
        for row in &self.rows {
            write!(formatter, "\n{:<1$}", row[0], widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(formatter, "  {cell:>width$}")?;
            }
        }
        Ok(())
    }
}

/// `value` with so many digits after the point that three or more count, for tables.
pub fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// `share` of one in percent, for tables.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// `value` without the digits that no measurement has, for lines of JSON.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let unit = 10f64.powi(5 - value.abs().log10().ceil() as i32);
    (value * unit).round() / unit
}
