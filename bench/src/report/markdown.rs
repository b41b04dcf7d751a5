//! The tables of a report. What was not measured is a dash.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Part, Report};
use crate::output::{digits, percent};

pub fn of(report: &Report) -> String {
    let sections = [
        heading(report),
        ceilings(report),
        tests(report),
        tiles(report),
        steps(report),
        shaders(report),
        generation(report),
        race(report),
        linear(report),
        other_kernels(report),
        parts(report),
    ];
    sections.into_iter().flatten().collect::<Vec<_>>().join("\n\n") + "\n"
}

/// A table under a line of text, or nothing where it has no rows.
fn table(caption: &str, columns: &[&str], rows: Vec<Vec<String>>) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let head: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
    let rule = vec!["---".to_owned(); columns.len()];
    let lines = [head, rule].into_iter().chain(rows).map(|cells| line(&cells));
    Some(format!("{caption}\n\n{}", lines.collect::<Vec<_>>().join("\n")))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        _ => "–".to_owned(),
    }
}

fn number(value: &Value) -> String {
    value.as_f64().map_or("–".to_owned(), digits)
}

fn share(value: &Value) -> String {
    value.as_f64().map_or("–".to_owned(), percent)
}

fn megabytes(value: &Value) -> String {
    value.as_f64().map_or("–".to_owned(), |bytes| format!("{:.0}", bytes / 1e6))
}

fn heading(report: &Report) -> Option<String> {
    let adapter = report.results("adapter").next().unwrap_or(&Value::Null);
    let mut facts = vec![
        format!("{}, {}", text(&adapter["name"]), text(&adapter["driver"])),
        format!("subgroups {}", adapter["subgroup_sizes"]),
        format!("cooperative matrices {}", adapter["cooperative_sides"]),
    ];
    if adapter["is_software"] == true {
        facts.push("computes on the CPU".to_owned());
    }
    Some(format!(
        "### {}\n\n{}. Run on {} ({}), kit of commit {} built {}.",
        text(&adapter["name"]),
        facts.join("; "),
        text(&report.run["date"]),
        text(&report.run["machine"]),
        text(&report.kit["commit"]),
        text(&report.kit["built"]),
    ))
}

fn ceilings(report: &Report) -> Option<String> {
    let of = |result: &Value| {
        [&result["gflops"], &result["copy_gbps"], &result["empty_dispatch_us"]].map(number).to_vec()
    };
    let rows = report.of_parts("ceilings", "ceilings").map(of).collect();
    table(
        "Ceilings:",
        &["f32 multiply-add, GFLOP/s", "copy, GB/s read and written", "empty dispatch, µs"],
        rows,
    )
}

fn tests(report: &Report) -> Option<String> {
    let mut rows = Vec::new();
    for part in report.parts.iter().filter(|part| part.announced > 0 && !part.name.contains('+')) {
        // A test that ran by itself belongs to the program of the same name.
        let alone = format!("{}+", part.name);
        let of_program = |it: &&Part| it.name == part.name || it.name.starts_with(&alone);
        let tests = || report.parts.iter().filter(of_program).flat_map(|part| &part.tests);
        let passed = tests().filter(|test| test.verdict == "ok").count();
        let failed: Vec<&str> =
            tests().filter(|test| test.verdict == "FAILED").map(|test| test.name.as_str()).collect();
        let without = part.announced.saturating_sub(tests().count());
        rows.push(vec![
            part.name.clone(),
            passed.to_string(),
            failed.len().to_string(),
            without.to_string(),
            failed.join(", "),
        ]);
    }
    table("Tests:", &["program", "passed", "failed", "crashed or not done", "failed ones"], rows)
}

fn tiles(report: &Report) -> Option<String> {
    let mut tiles: Vec<(String, usize, Vec<String>)> = Vec::new();
    for result in report.results("tile") {
        let name = text(&result["tile"]);
        if tiles.last().is_none_or(|last| last.0 != name) {
            tiles.push((name, 0, Vec::new()));
        }
        let last = tiles.last_mut().expect("one was just pushed");
        match result["agrees"] == true {
            true => last.1 += 1,
            false => last.2.push(format!("{} {}", text(&result["format"]), text(&result["direction"]))),
        }
    }
    let row = |(tile, agree, differ): (String, usize, Vec<String>)| {
        vec![tile, agree.to_string(), differ.join(", ")]
    };
    let rows = tiles.into_iter().map(row).collect();
    table(
        "Formats and directions of each tile that agree with the plain twin:",
        &["tile", "agree", "differ"],
        rows,
    )
}

fn steps(report: &Report) -> Option<String> {
    let mut rows = Vec::new();
    for step in report.results("step") {
        rows.push(vec![
            format!("{} {}", text(&step["shape"]), text(&step["base"])),
            text(&step["tokens"]),
            text(&step["checkpointing"]),
            number(&step["ms_per_step"]),
            number(&step["tokens_per_second"]),
            share(&step["share_of_peak"]),
            megabytes(&step["planned_gpu_bytes"]),
            megabytes(&step["peak_gpu_bytes"]),
            megabytes(&step["reserved_gpu_bytes"]),
            number(&step["gpu_waited_ms"]),
        ]);
    }
    for step in report.results("torch_step") {
        rows.push(vec![
            format!("{} PyTorch {} {}", text(&step["shape"]), text(&step["base"]), text(&step["device"])),
            text(&step["tokens"]),
            text(&step["checkpointing"]),
            number(&step["ms_per_step"]),
            number(&step["tokens_per_second"]),
            "–".to_owned(),
            "–".to_owned(),
            megabytes(&step["peak_gpu_bytes"]),
            megabytes(&step["reserved_gpu_bytes"]),
            "–".to_owned(),
        ]);
    }
    // Steps of one shape stand together, in the order in which the shapes came.
    let mut order: Vec<String> = Vec::new();
    let shape = |row: &Vec<String>| row[0].split(' ').next().unwrap_or_default().to_owned();
    for row in &rows {
        if !order.contains(&shape(row)) {
            order.push(shape(row));
        }
    }
    rows.sort_by_key(|row| order.iter().position(|known| *known == shape(row)));
    let columns = [
        "step of LoRA",
        "tokens",
        "recompute",
        "ms",
        "tokens/s",
        "of the f32 peak",
        "MB planned",
        "MB most at once",
        "MB taken of the driver",
        "ms that the GPU waited",
    ];
    table("Whole steps, rank 16 on every linear layer:", &columns, rows)
}

fn shaders(report: &Report) -> Option<String> {
    const MOST: usize = 6;
    let mut by_shape: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows = Vec::new();
    // The first step of each shape is the one to look into.
    for result in report.of_parts("step-", "step_shader") {
        let shown = by_shape.entry(text(&result["shape"])).or_default();
        *shown += 1;
        if *shown <= MOST {
            rows.push(vec![
                text(&result["shape"]),
                format!("`{}`", text(&result["shader"])),
                text(&result["dispatches"]),
                number(&result["ms"]),
                share(&result["share"]),
                number(&result["gflops"]),
            ]);
        }
    }
    table(
        "Where a step's time goes, one dispatch at a time:",
        &["shape", "shader", "dispatches", "ms", "share", "GFLOP/s"],
        rows,
    )
}

fn generation(report: &Report) -> Option<String> {
    let row = |result: &Value| {
        vec![
            format!("{} {}", text(&result["shape"]), text(&result["base"])),
            text(&result["context"]),
            number(&result["tokens_per_second"]),
            number(&result["ms_per_token"]),
            number(&result["ms_at_copy_bandwidth"]),
            share(&result["share_of_bandwidth"]),
        ]
    };
    let columns = [
        "generation",
        "context",
        "tokens/s",
        "ms a token",
        "ms at the copy bandwidth",
        "share of the bandwidth",
    ];
    table("Generation, token by token:", &columns, report.results("generate").map(row).collect())
}

fn race(report: &Report) -> Option<String> {
    let row = |result: &Value| {
        vec![
            text(&result["shape"]),
            format!("{} N{} K{}", text(&result["format"]), result["cols"], result["depth"]),
            text(&result["direction"]),
            text(&result["rows"]),
            text(&result["tile"]),
            number(&result["ms"]),
            share(&result["share_of_peak"]),
            number(&result["over_default"]),
        ]
    };
    let columns = [
        "shape",
        "product",
        "direction",
        "M",
        "fastest tile",
        "ms",
        "of the f32 peak",
        "times the default's speed",
    ];
    table("The tuner's race:", &columns, report.results("race").map(row).collect())
}

/// Of each product and format the fastest tile: in f32 and NF4, which the others lie between.
fn linear(report: &Report) -> Option<String> {
    let mut best: Vec<&Value> = Vec::new();
    for result in report.results("kernel") {
        let kernel = text(&result["kernel"]);
        let format =
            |result: &Value| text(&result["variant"]).split(' ').next().unwrap_or_default().to_owned();
        if !kernel.starts_with("linear_") || !matches!(format(result).as_str(), "f32" | "nf4") {
            continue;
        }
        let is_same = |known: &&mut &Value| {
            (&known["kernel"], &known["size"]) == (&result["kernel"], &result["size"])
                && format(known) == format(result)
        };
        match best.iter_mut().find(is_same) {
            Some(known) if result["ms"].as_f64() < known["ms"].as_f64() => *known = result,
            Some(_) => {}
            None => best.push(result),
        }
    }
    kernel_table("Products, each by its fastest tile:", best)
}

fn other_kernels(report: &Report) -> Option<String> {
    let others = report.results("kernel").filter(|result| !text(&result["kernel"]).starts_with("linear_"));
    kernel_table("Other kernels:", others.collect())
}

fn kernel_table(caption: &str, results: Vec<&Value>) -> Option<String> {
    let row = |result: &&Value| {
        vec![
            format!("{} {}", text(&result["kernel"]), result["variant"].as_str().unwrap_or_default())
                .trim()
                .to_owned(),
            text(&result["size"]),
            number(&result["ms"]),
            number(&result["gflops"]),
            number(&result["gbps"]),
            text(&result["bound_by"]),
            share(&result["share"]),
        ]
    };
    let columns = ["kernel", "size", "ms", "GFLOP/s", "GB/s", "bound by", "share"];
    table(caption, &columns, results.iter().map(row).collect())
}

fn parts(report: &Report) -> Option<String> {
    let row = |part: &Part| {
        vec![
            part.name.clone(),
            text(&part.end["status"]),
            text(&part.end["seconds"]),
            text(&part.end["limit"]),
            text(&part.end["exit"]),
        ]
    };
    // Of the tests that ran by themselves, those that went well need no row.
    let is_told =
        |part: &&Part| !part.name.contains('+') || part.end["status"] != "done" || part.announced == 0;
    let rows = report.parts.iter().filter(is_told).map(row).collect();
    table("Parts of the run:", &["part", "ended", "seconds", "limit", "exit"], rows)
}
