//! Where the time of a pass goes, by shader.

use std::collections::BTreeMap;

use serde_json::json;

use crate::output::{Output, Table, digits, percent, rounded};
use crate::shapes::Shape;

/// What all dispatches of one shader took.
struct Row {
    shader: String,
    count: usize,
    seconds: f64,
    flops: u64,
}

/// A pass by shader, the longest first.
pub struct Profile(Vec<Row>);

impl Profile {
    /// From the shader, the seconds and the floating-point operations of each dispatch.
    pub fn of(dispatches: Vec<(&str, f64, u64)>) -> Self {
        let mut by_shader: BTreeMap<&str, Row> = BTreeMap::new();
        for (shader, seconds, flops) in dispatches {
            let row = by_shader.entry(shader).or_insert_with(|| Row {
                shader: shader.to_owned(),
                count: 0,
                seconds: 0.0,
                flops: 0,
            });
            row.count += 1;
            row.seconds += seconds;
            row.flops += flops;
        }
        let mut rows: Vec<Row> = by_shader.into_values().collect();
        rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Profile(rows)
    }

    /// Of all dispatches together.
    pub fn seconds(&self) -> f64 {
        self.0.iter().map(|row| row.seconds).sum()
    }

    /// Reports a `pass` ("step", "token") of `shape`.
    pub fn report(&self, pass: &str, shape: &Shape, output: &Output<'_>) {
        let all = self.seconds();
        let columns = ["shader", "dispatches", "ms", "share", "GFLOP/s"];
        let title =
            format!("a {pass} of {} by shader, one dispatch at a time: {} ms", shape.name, digits(all * 1e3));
        let mut table = Table::new(title, &columns);
        for Row { shader, count, seconds, flops } in &self.0 {
            let gflops = *flops as f64 / seconds.max(1e-9) / 1e9;
            output.result(
                &format!("{pass}_shader"),
                json!({
                    "shape": shape.name,
                    "shader": shader,
                    "dispatches": count,
                    "ms": rounded(seconds * 1e3),
                    "share": rounded(seconds / all),
                    "gflops": rounded(gflops),
                }),
            );
            table.row(vec![
                shader.clone(),
                count.to_string(),
                digits(seconds * 1e3),
                percent(seconds / all),
                digits(gflops),
            ]);
        }
        output.table(table);
    }
}
