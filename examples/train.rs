//! `./build.sh train --engine native`: the whole job on a native adapter.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use serde_json::{Value, json};
use tabtune::bail;
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::ImportOptions;
use tabtune::error::{Code, Error, Result};
use tabtune::files::Directory;
use tabtune::session::{DEFAULT_ADAPTER, PrepareOptions, Session};
use tabtune::train::options::RunConfig;

struct Options {
    model: PathBuf,
    data: PathBuf,
    heldout: PathBuf,
    out: PathBuf,
    config: Value,
    init_adapter: Option<PathBuf>,
}

fn main() -> ExitCode {
    match pollster::block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.code.as_str());
            ExitCode::FAILURE
        }
    }
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::new(Code::Io, format!("{}: {error}", path.display()))
}

/// Reads the command line; bundled model, data and config stand in for what it leaves out.
fn options() -> Result<Options> {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("www");
    let (mut model, mut data, mut eval, mut config, mut out) = (None, None, None, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let place = match name.as_str() {
            "--model" => &mut model,
            "--data" => &mut data,
            "--eval" => &mut eval,
            "--config" => &mut config,
            "--out" => &mut out,
            _ => bail!(BadOption, "unknown option {name}"),
        };
        match inline.or_else(|| arguments.next()) {
            Some(value) => *place = Some(PathBuf::from(value)),
            None => bail!(BadOption, "{name} needs a value"),
        }
    }
    let config_file = config.or_else(|| data.is_none().then(|| bundled.join("data/faq.config.json")));
    let config = match &config_file {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(io(path))?;
            serde_json::from_str(&text)
                .map_err(|error| Error::new(Code::BadOption, format!("{}: {error}", path.display())))?
        }
        None => json!({"quantization": {"load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}}),
    };
    // Every option is checked before anything is read.
    let checked = RunConfig::from_json(&config)?;
    let folder = config_file.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
    let init_adapter = checked.init_adapter.map(|name| folder.join(name));
    let heldout = match (&eval, &data) {
        (Some(eval), _) => eval.clone(),
        (None, Some(data)) => data.clone(),
        (None, None) => bundled.join("data/faq.heldout.jsonl"),
    };
    Ok(Options {
        model: model.unwrap_or_else(|| bundled.join("models/tiny")),
        data: data.unwrap_or_else(|| bundled.join("data/faq.jsonl")),
        heldout,
        out: out.unwrap_or_else(|| PathBuf::from("out")),
        config,
        init_adapter,
    })
}

/// The folder of a file and the file's name in it.
fn split(path: &Path) -> (Directory, String) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    (Directory(folder.to_owned()), name)
}

async fn run() -> Result<()> {
    let options = options()?;
    let mut session = Session::open(Rc::new(MemoryKv::default())).await?;
    println!("adapter   {} ({})", session.adapter().name, session.adapter().backend);
    let model = Directory(options.model.clone());
    let info = session.load_model(&model, &options.config["quantization"], &mut |_| {}).await?;
    println!(
        "model     {}: {:.2} M parameters, {:.1} MB on the GPU",
        options.model.display(),
        info.parameters as f64 / 1e6,
        info.weight_bytes as f64 / 1e6
    );
    for notice in &info.notices {
        println!("notice    {}", notice.message);
    }
    if let Some(folder) = options.init_adapter {
        session.load_adapter(DEFAULT_ADAPTER, &Directory(folder)).await?;
    }
    // What only the model can tell of the options is checked before rows are read.
    session.check_run(&options.config["lora"], &options.config["train"])?;

    let train = &options.config["train"];
    for (name, path) in [("train", &options.data), ("heldout", &options.heldout)] {
        let (folder, file) = split(path);
        let rows = session.rows.clone();
        import_file(rows, name, &folder, &file, ImportOptions::default(), &mut |_, _| {}).await?;
        let report = session.tokenize(name, train, &mut |_, _| true).await?;
        println!(
            "{name:9} {file}: {} rows, {} tokens, {} labelled, {} truncated, {} dropped",
            report.kept, report.tokens, report.labelled_tokens, report.truncated, report.dropped
        );
        for notice in &report.notices {
            println!("notice    {}", notice.message);
        }
    }
    let prepare = PrepareOptions {
        lora: options.config["lora"].clone(),
        train: train.clone(),
        dataset: "train",
        eval_dataset: Some("heldout"),
        ..Default::default()
    };
    let plan = session.prepare(prepare).await?;
    for notice in &plan.notices {
        println!("notice    {}", notice.message);
    }
    println!(
        "plan      {} steps, {:.1} MB of GPU memory",
        plan.total_steps,
        plan.footprint.peak_gpu_bytes as f64 / 1e6
    );

    fs::create_dir_all(&options.out).map_err(io(&options.out))?;
    let log_path = options.out.join("log.jsonl");
    let mut log_file = fs::File::create(&log_path).map_err(io(&log_path))?;
    let mut write = |line: Value| writeln!(log_file, "{line}").map_err(io(&log_path));

    let question = first_question(&options.heldout);
    answer(&mut session, "before", &question, false).await?;
    let before = session.evaluate().await?;
    write(json!({"step": 0, "eval_loss": before.eval_loss}))?;
    let mut evaluated = 0;
    let mut last = 0;
    while let Some(log) = session.train_step().await? {
        last = log.step;
        write(json!({
            "step": log.step, "loss": log.loss, "grad_norm": log.grad_norm,
            "learning_rate": log.learning_rate, "num_tokens": log.num_tokens,
            "tokens_per_second": log.tokens_per_second, "peak_gpu_bytes": log.peak_gpu_bytes,
        }))?;
        println!(
            "step {:5}/{}  loss {:.4}  {:.0} tokens/s  {:.0} s left",
            log.step, log.total_steps, log.loss, log.tokens_per_second, log.remaining_seconds
        );
        if let Some(notice) = &log.notice {
            println!("notice    {}", notice.message);
        }
        if log.eval_due {
            let eval = session.evaluate().await?;
            evaluated = log.step;
            write(json!({"step": eval.step, "eval_loss": eval.eval_loss}))?;
            println!("step {:5}  held-out loss {:.4}", eval.step, eval.eval_loss);
        }
    }
    let after = session.evaluate().await?;
    if evaluated != last {
        write(json!({"step": after.step, "eval_loss": after.eval_loss}))?;
    }
    answer(&mut session, "after", &question, true).await?;
    for (name, bytes) in session.save(None).await? {
        let path = options.out.join(name);
        fs::write(&path, bytes).map_err(io(&path))?;
    }
    println!("held-out  loss {:.4} before, {:.4} after {last} steps", before.eval_loss, after.eval_loss);
    println!("peak      {:.1} MB of GPU memory", session.counters().peak_buffer_bytes() as f64 / 1e6);
    println!("adapter   {}", options.out.display());
    Ok(())
}

async fn answer(
    session: &mut Session<Rc<MemoryKv>>,
    when: &str,
    question: &str,
    adapter: bool,
) -> Result<()> {
    let messages = json!([{"role": "user", "content": question}]);
    let options = json!({"adapter": adapter, "max_new_tokens": 64});
    let answer = session.generate(&messages, &options, &mut |_| true).await?;
    println!("{when:9} Q: {question}\n          A: {}", answer.text.trim());
    Ok(())
}

/// What the first held-out row asks.
fn first_question(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let row: Value = text.lines().next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let asked = row["messages"]
        .as_array()
        .and_then(|messages| messages.iter().find(|message| message["role"] == "user"))
        .map(|message| &message["content"])
        .unwrap_or(&row["prompt"]);
    asked.as_str().unwrap_or("What is tabtune?").to_owned()
}
