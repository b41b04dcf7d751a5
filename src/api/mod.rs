//! The engine's face towards JavaScript: everything `#[wasm_bindgen]`, and nothing else.
//!
//! One [`Session`] lives in a dedicated worker. Its methods take and return plain objects; what goes
//! wrong is thrown as an `Error` with `code` and `context`.

mod convert;
mod files;
mod library;
mod runs;
mod sink;

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Function, Object, Reflect};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::bail;
use crate::cpu::Cpu;
use crate::data::idb_kv::IdbKv;
use crate::device::{Device, DeviceOption};
use crate::error::{Code, Error, Result};
use crate::export::{ExportOptions, ExportProgress};
use crate::format::WeightFormat;
use crate::gpu::{Adapter, Gpu};
use crate::kernels::linear::Tile;
use crate::kernels::{for_browsers, shaders};
use crate::session::{self, Loading, PrepareOptions, Saving, Texts};
use crate::train::StepLog;
use crate::train::options::RunConfig;
use convert::{from_js, thrown, to_js};
use files::JsFiles;
use sink::JsSink;

/// What a call of JavaScript's comes to, with what is thrown at it.
type Thrown<T> = std::result::Result<T, JsValue>;

/// Makes panics readable: a defect then says where it is.
#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
}

/// The WGSL text of every shader by name, for checks of the browser's own compiler.
#[wasm_bindgen]
pub fn shaders() -> Object {
    let all = Object::new();
    for (name, text) in shaders::all() {
        // Setting a property of a plain object does not fail.
        let _ = Reflect::set(&all, &JsValue::from_str(name), &JsValue::from_str(&for_browsers(&text)));
    }
    all
}

/// Checks `{quantization, lora, train}` as far as that needs no model, and returns what is worth knowing of
/// them.
#[wasm_bindgen]
pub fn check_options(options: JsValue) -> std::result::Result<JsValue, JsValue> {
    let check = || {
        let config = RunConfig::from_json(&from_js(options, "options")?)?;
        to_js(&config.notices().collect::<Vec<_>>())
    };
    check().map_err(thrown)
}

/// Runs each of the `pairs` `[tile of the linear kernels, weight format]` that this adapter can run against plain
/// arithmetic, and returns `[tile, weight format, direction, whether they agree]` of each; for tests.
#[wasm_bindgen]
pub async fn check_tiles(pairs: JsValue) -> std::result::Result<JsValue, JsValue> {
    let check = async {
        let pairs: Vec<(Tile, WeightFormat)> = serde_json::from_value(from_js(pairs, "pairs")?)
            .map_err(|error| Error::new(Code::BadOption, format!("pairs: {error}")))?;
        let device = Device::open().await?;
        to_js(&crate::tune::check_all(&device, pairs).await?)
    };
    check.await.map_err(thrown)
}

/// One GPU with at most one model and one run on it.
///
/// A call takes the engine out of its cell while it runs, so that a second call meanwhile is an
/// error of code `bad-state` rather than a broken borrow.
#[wasm_bindgen]
pub struct Session {
    engine: Rc<RefCell<Option<session::Session>>>,
}

#[derive(Serialize)]
struct CounterValues {
    buffers: u64,
    buffer_bytes: u64,
    peak_buffer_bytes: u64,
    pipelines: u64,
    bind_groups: u64,
    dispatches: u64,
    submits: u64,
    wasm_heap_bytes: u64,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PrepareArguments {
    #[serde(default)]
    lora: serde_json::Value,
    #[serde(default)]
    train: serde_json::Value,
    dataset: String,
    #[serde(default)]
    eval_dataset: Option<String>,
    #[serde(default)]
    run_name: Option<String>,
    #[serde(default)]
    resume_from_checkpoint: bool,
    #[serde(default)]
    overwrite: bool,
    #[serde(default)]
    resume_on_other_device: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportArguments {
    format: String,
    #[serde(default)]
    dtype: Option<String>,
    /// Of the adapter.
    #[serde(default)]
    name: Option<String>,
    /// What a GGUF is called.
    #[serde(default)]
    file: Option<String>,
}

impl ExportArguments {
    fn options(&self) -> Result<ExportOptions> {
        let dtype = self.dtype.as_deref().map(str::parse).transpose()?;
        let mut options = ExportOptions::new(self.format.parse()?, dtype)?;
        if let Some(file) = &self.file {
            if !file.ends_with(".gguf") || file.contains(['/', '\\']) {
                bail!(BadOption, "file is {file:?}, but must be a name that ends in .gguf");
            }
            options.file.clone_from(file);
        }
        Ok(options)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BlendArguments {
    adapter: String,
    weight: f64,
}

fn busy() -> Error {
    Error::new(Code::BadState, "the engine is busy with another call")
}

async fn opened(wanted: DeviceOption, device: JsValue, open_machine: &JsValue) -> Result<Device> {
    if wanted == DeviceOption::Cpu {
        return Ok(Cpu::open(open_machine, None).await?.into());
    }
    let adapter = Adapter::request().await?;
    if !device.is_undefined() {
        return Ok(Gpu::on_device(&adapter, device).await?.into());
    }
    if wanted == DeviceOption::Auto && adapter.summary().is_software {
        return Ok(Cpu::open(open_machine, None).await?.into());
    }
    Ok(Gpu::open(&adapter).await?.into())
}

type Engine = session::Session;

impl Session {
    /// Runs `work` with the engine, which is back in its cell however it ends.
    async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&mut Engine) -> Result<T>,
    ) -> std::result::Result<T, JsValue> {
        let cell = self.engine.clone();
        let mut engine = cell.borrow_mut().take().ok_or_else(|| thrown(busy()))?;
        let result = work(&mut engine).await;
        *cell.borrow_mut() = Some(engine);
        result.map_err(thrown)
    }
}

#[wasm_bindgen]
impl Session {
    /// Opens what `wanted` names ("auto", "webgpu" or "cpu"), or works on a `GPUDevice` of the page, where `wanted` is
    /// "webgpu". The processor is opened by the package's `openMachine`.
    pub async fn create(
        wanted: &str,
        device: JsValue,
        open_machine: JsValue,
    ) -> std::result::Result<Session, JsValue> {
        let open = async {
            let device = opened(wanted.parse()?, device, &open_machine).await?;
            Ok(session::Session::on(device, Rc::new(IdbKv::open().await?)))
        };
        let engine = open.await.map_err(thrown)?;
        Ok(Session { engine: Rc::new(RefCell::new(Some(engine))) })
    }

    pub fn adapter(&self) -> std::result::Result<JsValue, JsValue> {
        match &*self.engine.borrow() {
            Some(engine) => to_js(engine.adapter()).map_err(thrown),
            None => Err(thrown(busy())),
        }
    }

    pub async fn load_model(
        &self,
        files: JsValue,
        quantization: JsValue,
        on_progress: Option<Function>,
    ) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            let quantization = from_js(quantization, "quantization")?;
            let mut report = |loading: Loading| match loading {
                Loading::Weights(placed) => {
                    convert::report(&on_progress, &placed.name, &placed.file, placed.loaded, placed.total);
                }
                Loading::Measuring => convert::report_phase(&on_progress, "measure"),
            };
            to_js(&engine.load_model(&JsFiles(files), &quantization, &mut report).await?)
        })
        .await
    }

    /// Checks the options of a run against the loaded model before any row is looked at.
    pub async fn check_run(&self, lora: JsValue, train: JsValue) -> std::result::Result<(), JsValue> {
        self.with(async |engine| engine.check_run(&from_js(lora, "lora")?, &from_js(train, "train")?)).await
    }

    /// What exported adapters call the model.
    pub async fn set_base_name(&self, name: String) -> std::result::Result<(), JsValue> {
        self.with(async |engine| engine.set_base_name(&name)).await
    }

    /// Loads an adapter and makes it the active one. As the calls after this, it returns all adapters.
    pub async fn load_adapter(&self, name: String, files: JsValue) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            engine.load_adapter(&name, &JsFiles(files)).await?;
            to_js(&engine.adapters())
        })
        .await
    }

    /// Makes another adapter the active one; without a name none is.
    pub async fn use_adapter(&self, name: Option<String>) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            engine.use_adapter(name.as_deref())?;
            to_js(&engine.adapters())
        })
        .await
    }

    /// Makes an adapter of several, `[{adapter, weight}]`, and lets it be the active one.
    pub async fn blend_adapters(
        &self,
        name: String,
        parts: JsValue,
    ) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            let parts: Vec<BlendArguments> = serde_json::from_value(from_js(parts, "blend")?)
                .map_err(|error| Error::new(Code::BadOption, format!("blend: {error}")))?;
            let parts: Vec<_> = parts.into_iter().map(|part| (part.adapter, part.weight)).collect();
            engine.blend_adapters(&name, &parts).await?;
            to_js(&engine.adapters())
        })
        .await
    }

    pub async fn delete_adapter(&self, name: String) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            engine.delete_adapter(&name)?;
            to_js(&engine.adapters())
        })
        .await
    }

    pub async fn adapters(&self) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| to_js(&engine.adapters())).await
    }

    /// Tokenises a dataset; `on_progress` hears rows done and rows in all and stops by returning false.
    pub async fn tokenize(
        &self,
        name: String,
        train: JsValue,
        on_progress: Option<Function>,
    ) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            let train = from_js(train, "train")?;
            let mut go_on = |done: u64, rows: u64| convert::goes_on(&on_progress, done, rows);
            to_js(&engine.tokenize(&name, &train, &mut go_on).await?)
        })
        .await
    }

    /// What a run takes on this GPU, by the model's files alone: no weight is read, nothing allocated.
    pub async fn estimate(&self, files: JsValue, options: JsValue) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            let options = from_js(options, "estimate")?;
            let (quantization, lora, train) = (&options["quantization"], &options["lora"], &options["train"]);
            to_js(&engine.estimate(&JsFiles(files), quantization, lora, train).await?)
        })
        .await
    }

    /// Rows as the loaded model will see them.
    pub async fn preview(
        &self,
        name: String,
        train: JsValue,
        first: u32,
        count: u32,
    ) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            let train = from_js(train, "train")?;
            to_js(&engine.preview(&name, &train, first.into(), count.into()).await?)
        })
        .await
    }

    /// How long the tokenised rows of a dataset are.
    pub async fn lengths(
        &self,
        name: String,
        train: JsValue,
        bins: u32,
    ) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            let train = from_js(train, "train")?;
            to_js(&engine.lengths(&name, &train, bins as usize).await?)
        })
        .await
    }

    /// `on_progress` hears of how many rows of how many it is known what the method's reference makes of them, and stops by
    /// returning false.
    pub async fn prepare(
        &self,
        options: JsValue,
        on_progress: Option<Function>,
    ) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            let arguments: PrepareArguments = serde_json::from_value(from_js(options, "prepare")?)
                .map_err(|error| Error::new(Code::BadOption, format!("prepare: {error}")))?;
            let options = PrepareOptions {
                lora: arguments.lora,
                train: arguments.train,
                dataset: &arguments.dataset,
                eval_dataset: arguments.eval_dataset.as_deref(),
                run_name: arguments.run_name.as_deref(),
                resume_from_checkpoint: arguments.resume_from_checkpoint,
                overwrite: arguments.overwrite,
                resume_on_other_device: arguments.resume_on_other_device,
            };
            let mut go_on = |done: u64, rows: u64| convert::goes_on(&on_progress, done, rows);
            to_js(&engine.prepare_while(options, &mut go_on).await?)
        })
        .await
    }

    /// The next step is with the GPU already when this returns, unless `pipelined` is false. After step `end`, or the run's last
    /// one, there is none.
    pub async fn train_step(
        &self,
        pipelined: bool,
        end: Option<u32>,
    ) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            engine.trainer()?.set_pipelined(pipelined);
            engine.trainer()?.set_end(end);
            match engine.train_step().await? {
                Some(log) => to_js(&log),
                None => Ok(JsValue::UNDEFINED),
            }
        })
        .await
    }

    /// What of the prepared run rounds exchange.
    pub async fn layout(&self) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| to_js(&engine.layout()?)).await
    }

    /// The values of an entry of the layout.
    pub async fn values(&self, name: String) -> std::result::Result<Vec<f32>, JsValue> {
        self.with(async |engine| engine.values(&name).await).await
    }

    pub async fn set_values(&self, name: String, values: Vec<f32>) -> std::result::Result<(), JsValue> {
        self.with(async |engine| engine.set_values(&name, &values).await).await
    }

    /// Lets the next step be `step`, counted from zero, with the optimizer's moments as at a run's start.
    pub async fn begin_at(&self, step: u32) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| to_js(&engine.begin_at(step).await?)).await
    }

    /// Saves a checkpoint of all steps so far: `{logs, checkpoint}`, with the logs of steps that were still
    /// on their way.
    pub async fn save_checkpoint(&self) -> std::result::Result<JsValue, JsValue> {
        #[derive(Serialize)]
        struct Saved {
            logs: Vec<StepLog>,
            checkpoint: Option<Saving>,
        }
        self.with(async |engine| {
            let (logs, checkpoint) = engine.save_checkpoint().await?;
            to_js(&Saved { logs, checkpoint })
        })
        .await
    }

    /// `goes_on` stops it by returning false.
    pub async fn evaluate(&self, goes_on: Option<Function>) -> std::result::Result<JsValue, JsValue> {
        let mut go_on = || convert::goes_on(&goes_on, 0, 0);
        self.with(async |engine| to_js(&engine.evaluate_while(&mut go_on).await?)).await
    }

    /// Puts what the best evaluation was of in place of what learnt last.
    pub async fn load_best(&self) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| to_js(&engine.load_best().await?)).await
    }

    /// How likely texts are, by row; `on_progress` hears rows done and rows in all and stops by returning false.
    pub async fn score(
        &self,
        texts: JsValue,
        adapter: bool,
        train: JsValue,
        on_progress: Option<Function>,
    ) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            let texts: Texts = serde_json::from_value(from_js(texts, "texts")?)
                .map_err(|error| Error::new(Code::BadOption, format!("score: {error}")))?;
            let train = from_js(train, "train")?;
            let mut go_on = |done: u64, rows: u64| convert::goes_on(&on_progress, done, rows);
            to_js(&engine.score(&texts, adapter, &train, &mut go_on).await?)
        })
        .await
    }

    pub async fn generate(
        &self,
        prompt: JsValue,
        options: JsValue,
        on_text: Option<Function>,
    ) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            let (prompt, options) = (from_js(prompt, "prompt")?, from_js(options, "generate")?);
            let mut on_text = |piece: &str| match &on_text {
                // A listener that throws is one that no longer wants text.
                Some(listener) => listener
                    .call1(&JsValue::NULL, &JsValue::from_str(piece))
                    .is_ok_and(|answer| answer.as_bool() != Some(false)),
                None => true,
            };
            to_js(&engine.generate(&prompt, &options, &mut on_text).await?)
        })
        .await
    }

    /// The files of an adapter by name: of the active one where none is named.
    pub async fn save(&self, name: Option<String>) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            let files = Object::new();
            for (name, bytes) in engine.save(name.as_deref()).await? {
                let bytes = bytes.to_js()?;
                // Setting a property of a plain object does not fail.
                let _ = Reflect::set(&files, &JsValue::from_str(&name), &bytes);
            }
            Ok(files.into())
        })
        .await
    }

    /// Writes the model with an adapter to `sink`, made of the `files` that it was loaded from. `on_progress` hears bytes
    /// done and bytes in all and stops by returning false. Returns what is worth telling.
    pub async fn export(
        &self,
        files: JsValue,
        options: JsValue,
        sink: JsValue,
        on_progress: Option<Function>,
    ) -> std::result::Result<JsValue, JsValue> {
        self.with(async |engine| {
            let arguments: ExportArguments = serde_json::from_value(from_js(options, "save")?)
                .map_err(|error| Error::new(Code::BadOption, format!("save: {error}")))?;
            let options = arguments.options()?;
            let mut go_on =
                |progress: &ExportProgress| convert::goes_on(&on_progress, progress.written, progress.total);
            let (files, mut sink) = (JsFiles(files), JsSink(sink));
            to_js(&engine.export(&files, arguments.name.as_deref(), options, &mut sink, &mut go_on).await?)
        })
        .await
    }

    /// Frees the model and the run.
    pub async fn unload(&self) -> std::result::Result<(), JsValue> {
        self.with(async |engine| {
            engine.unload();
            Ok(())
        })
        .await
    }

    pub fn counters(&self) -> std::result::Result<JsValue, JsValue> {
        let engine = self.engine.borrow();
        let Some(engine) = &*engine else { return Err(thrown(busy())) };
        let counters = engine.counters();
        let memory = wasm_bindgen::memory().unchecked_into::<js_sys::WebAssembly::Memory>();
        let heap = memory.buffer().unchecked_into::<js_sys::ArrayBuffer>().byte_length();
        to_js(&CounterValues {
            buffers: counters.buffers(),
            buffer_bytes: counters.buffer_bytes(),
            peak_buffer_bytes: counters.peak_buffer_bytes(),
            pipelines: counters.pipelines(),
            bind_groups: counters.bind_groups(),
            dispatches: counters.dispatches(),
            submits: counters.submits(),
            wasm_heap_bytes: u64::from(heap),
        })
        .map_err(thrown)
    }
}
