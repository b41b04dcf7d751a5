//! A run from the model to the files of its result, told line by line.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;

use serde_json::{Value, json};
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::{self, ImportOptions, ImportReport};
use tabtune::data::tokens::DatasetReport;
use tabtune::device::Device;
use tabtune::error::{Code, Context, Error, Result};
use tabtune::export::{ExportOptions, Folder, Format};
use tabtune::files::{Directory, ModelPath};
use tabtune::session::{DEFAULT_ADAPTER, PrepareOptions, RunLog, Session};
use tabtune::train::{EvalLog, Metrics};

use super::options::{Evaluated, Options, io};
use super::question::Question;

/// Rows that are evaluated where none are held out.
const SAMPLE_ROWS: u32 = 16;
/// The names of the datasets.
const TRAIN: &str = "train";
const HELD_OUT: &str = "held-out";

/// Hears each line of the output.
pub type Say<'a> = &'a mut dyn FnMut(String);

/// Trains as `options` say, and writes the log and the adapter, or the model where all of it was trained.
pub async fn run(options: Options, device: Device, say: Say<'_>) -> Result<()> {
    let mut job = Job { session: Session::on(device, Rc::new(MemoryKv::default())), options, eval_rows: 0 };
    job.load(say).await?;
    job.read_rows(say).await?;
    job.prepare(say).await?;
    let question = job.question().await?;
    job.answer("before", &question, false, say).await?;
    let (first, last) = job.train(say).await?;
    job.answer("after", &question, true, say).await?;
    job.save().await?;
    if let (Some(before), Some(after)) = (first, last) {
        let (losses, steps) = (format!("{:.4} before, {:.4}", before.eval_loss, after.eval_loss), after.step);
        say(match &job.options.evaluated {
            Evaluated::Sample => {
                format!(
                    "sample    loss {losses} after {steps} steps, of {} rows that were trained on",
                    before.rows
                )
            }
            _ => format!("held-out  loss {losses} after {steps} steps, of {} rows", before.rows),
        });
    }
    let peak = job.session.counters().peak_buffer_bytes() as f64 / 1e6;
    say(format!("peak      {peak:.1} MB of {}", job.memory()));
    let result = if job.options.is_full { "model" } else { "adapter" };
    say(format!("{result:9} {}", job.options.out.display()));
    Ok(())
}

struct Job {
    session: Session,
    options: Options,
    /// Rows that are evaluated.
    eval_rows: usize,
}

impl Job {
    /// What weights and runs take.
    fn memory(&self) -> &'static str {
        if self.session.adapter().backend == "cpu" { "memory" } else { "GPU memory" }
    }

    async fn load(&mut self, say: Say<'_>) -> Result<()> {
        let adapter = self.session.adapter();
        say(format!("adapter   {} ({})", adapter.name, adapter.backend));
        if adapter.is_software && adapter.backend != "cpu" {
            say("          the processor plays the GPU here: --device cpu is faster".to_owned());
        }
        let path = self.options.model.clone();
        let model = ModelPath::new(&path);
        let quantization = &self.options.config["quantization"];
        let info = self.session.load_model(&model, quantization, &mut |_| {}).await;
        let info = info.context(format_args!("model {}", path.display()))?;
        let millions = info.parameters as f64 / 1e6;
        let megabytes = info.weight_bytes as f64 / 1e6;
        say(format!(
            "model     {}: {millions:.2} M parameters, {megabytes:.1} MB of {}",
            path.display(),
            self.memory()
        ));
        for notice in &info.notices {
            say(format!("notice    {}", notice.message));
        }
        if let Some(folder) = self.options.init_adapter.clone() {
            self.session.load_adapter(DEFAULT_ADAPTER, &Directory(folder)).await?;
        }
        // What only the model can tell of the options is checked before rows are read.
        self.session.check_run(&self.options.config["lora"], &self.options.config["train"])
    }

    /// Imports and tokenises the rows, each once.
    async fn read_rows(&self, say: Say<'_>) -> Result<()> {
        self.read_file(TRAIN, &self.options.data, say).await?;
        if let Evaluated::File(path) = &self.options.evaluated {
            self.read_file(HELD_OUT, path, say).await?;
        }
        Ok(())
    }

    async fn read_file(&self, name: &str, path: &Path, say: Say<'_>) -> Result<()> {
        let parent = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = Directory(parent.unwrap_or(Path::new(".")).to_owned());
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (kv, options) = (self.session.rows.clone(), ImportOptions::default());
        let imported = import_file(kv, name, &folder, &file, options, &mut |_, _| {}).await?;
        let report = self.session.tokenize(name, &self.options.config["train"], &mut |_, _| true).await?;
        say(format!("{name:9} {file}: {}", counts(&report)));
        for notice in notices(&imported, &report) {
            say(format!("notice    {notice}"));
        }
        Ok(())
    }

    async fn prepare(&mut self, say: Say<'_>) -> Result<()> {
        let mut train = self.options.config["train"].clone();
        let eval_dataset = match &self.options.evaluated {
            Evaluated::File(_) => Some(HELD_OUT),
            Evaluated::Share => None,
            Evaluated::Sample => {
                if train["max_eval_samples"].is_null() {
                    train["max_eval_samples"] = SAMPLE_ROWS.into();
                }
                Some(TRAIN)
            }
        };
        let options = PrepareOptions {
            lora: self.options.config["lora"].clone(),
            train,
            dataset: TRAIN,
            eval_dataset,
            ..Default::default()
        };
        let plan = self.session.prepare(options).await?;
        for notice in &plan.notices {
            say(format!("notice    {}", notice.message));
        }
        self.eval_rows = plan.eval_rows;
        match (&self.options.evaluated, plan.eval_rows) {
            (Evaluated::Share, 0) => {
                say("notice    test_size holds nothing out: all rows are the same".to_owned())
            }
            (Evaluated::Share, rows) => {
                say(format!("held-out  {rows} rows, and {} are trained on", plan.train_rows));
            }
            (Evaluated::Sample, rows) => say(format!(
                "notice    no --eval and no test_size: nothing is held out, and the loss before and after is that of \
                 {rows} rows that are trained on"
            )),
            (Evaluated::File(_), _) => {}
        }
        let megabytes = plan.footprint.peak_gpu_bytes as f64 / 1e6;
        say(format!("plan      {} steps, {megabytes:.1} MB of {}", plan.total_steps, self.memory()));
        Ok(())
    }

    /// What the first row asks, of the held-out ones where these have a file.
    async fn question(&self) -> Result<Option<Question>> {
        let name = if matches!(self.options.evaluated, Evaluated::File(_)) { HELD_OUT } else { TRAIN };
        let rows = library::rows(&self.session.rows, name, 0, 1).await?;
        Ok(rows.first().and_then(|row| Question::of(&row.row)))
    }

    /// Shows an answer. That a model cannot be asked does not keep it from being trained.
    async fn answer(
        &mut self,
        when: &str,
        question: &Option<Question>,
        adapter: bool,
        say: Say<'_>,
    ) -> Result<()> {
        let Some(Question { prompt, without_template, text }) = question else { return Ok(()) };
        let options = json!({"adapter": adapter, "max_new_tokens": 64});
        let mut answer = self.session.generate(prompt, &options, &mut |_| true).await;
        if let (Some(prompt), Err(Error { code: Code::BadModel, .. })) = (without_template, &answer) {
            answer = self.session.generate(prompt, &options, &mut |_| true).await;
        }
        match answer {
            Ok(answer) => {
                let answer = answer.text.trim().replace('\n', "\n             ");
                say(format!("{when:9} Q: {text}\n          A: {answer}"));
            }
            Err(error) if matches!(error.code, Code::BadData | Code::BadModel | Code::UnsupportedModel) => {
                say(format!("{when:9} no answer: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// All steps, and the first and the last evaluation, with a line in the log for each.
    async fn train(&mut self, say: Say<'_>) -> Result<(Option<EvalLog>, Option<EvalLog>)> {
        let log_path = self.options.out.join("log.jsonl");
        fs::create_dir_all(&self.options.out).map_err(io(&self.options.out))?;
        let mut file = fs::File::create(&log_path).map_err(io(&log_path))?;
        let mut write = |line: Value| writeln!(file, "{line}").map_err(io(&log_path));

        let first = self.evaluate(&mut write).await?;
        let (mut latest, mut last_step) = (first.clone(), 0);
        while let Some(log) = self.session.train_step().await? {
            last_step = log.step;
            write(step_line(&log))?;
            say(format!(
                "step {:5}/{}  loss {:.4}{}  {:.0} tokens/s  {:.0} s left",
                log.step,
                log.total_steps,
                log.loss,
                margin(&log),
                log.tokens_per_second,
                log.remaining_seconds
            ));
            if let Some(notice) = &log.notice {
                say(format!("notice    {}", notice.message));
            }
            if log.eval_due {
                latest = self.evaluate(&mut write).await?;
                if let Some(eval) = &latest {
                    say(format!("step {:5}  {} loss {:.4}", eval.step, self.evaluated(), eval.eval_loss));
                }
            }
        }
        if latest.as_ref().is_some_and(|eval| eval.step < last_step) {
            latest = self.evaluate(&mut write).await?;
        }
        Ok((first, latest))
    }

    fn evaluated(&self) -> &'static str {
        if matches!(self.options.evaluated, Evaluated::Sample) { "sample" } else { HELD_OUT }
    }

    /// The loss on the rows that are evaluated, if there are any.
    async fn evaluate(&mut self, write: &mut dyn FnMut(Value) -> Result<()>) -> Result<Option<EvalLog>> {
        if self.eval_rows == 0 {
            return Ok(None);
        }
        let eval = self.session.evaluate().await?;
        let mut line = json!({"step": eval.step, "eval_loss": eval.eval_loss});
        add(&mut line, &eval.metrics);
        write(line)?;
        Ok(Some(eval))
    }

    async fn save(&mut self) -> Result<()> {
        if self.options.is_full {
            let files = ModelPath::new(&self.options.model);
            let options = ExportOptions::new(Format::Safetensors, Some(self.options.dtype))?;
            let mut sink = Folder::create(&self.options.out)?;
            self.session.export(&files, None, options, &mut sink, &mut |_| true).await?;
            return Ok(());
        }
        for (name, bytes) in self.session.save(None).await? {
            let path = self.options.out.join(name);
            fs::write(&path, bytes.to_vec()).map_err(io(&path))?;
        }
        Ok(())
    }
}

fn step_line(log: &RunLog) -> Value {
    let mut line = json!({
        "step": log.step, "loss": log.loss, "grad_norm": log.grad_norm,
        "learning_rate": log.learning_rate, "num_tokens": log.num_tokens,
        "tokens_per_second": log.tokens_per_second, "peak_gpu_bytes": log.peak_gpu_bytes,
    });
    add(&mut line, &log.metrics);
    // MeZO has slopes instead.
    if let (Value::Object(line), Ok(Value::Object(mezo))) = (&mut line, serde_json::to_value(&log.mezo)) {
        line.remove("grad_norm");
        line.extend(mezo);
    }
    line
}

/// Adds what objectives tell.
fn add(line: &mut Value, metrics: &Metrics) {
    if let Value::Object(line) = line {
        line.extend(metrics.iter().map(|(name, value)| (name.clone(), Value::from(*value))));
    }
}

/// Of preferences by how much chosen answers are ahead.
fn margin(log: &RunLog) -> String {
    log.metrics.get("rewards/margins").map_or(String::new(), |margin| format!("  margin {margin:.3}"))
}

fn counts(report: &DatasetReport) -> String {
    format!(
        "{} rows, {} tokens, {} labelled, {} truncated, {} dropped",
        report.kept, report.tokens, report.labelled_tokens, report.truncated, report.dropped
    )
}

/// What is worth knowing of rows beside their number.
fn notices(imported: &ImportReport, report: &DatasetReport) -> Vec<String> {
    let unused = |(column, rows): (&String, &u64)| format!("column {column:?} is not used (in {rows} rows)");
    let told = imported.notices.iter().chain(&report.notices).map(|notice| notice.message.clone());
    imported.ignored_columns.iter().map(unused).chain(told).collect()
}
