//! The adapter, the device, and the pipelines compiled on it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use crate::bail;
use crate::error::{Code, Error, Result};
use crate::kernels;
use crate::memory::{Counters, LARGEST_BINDING};

/// An adapter that was found but not opened yet.
pub struct Adapter(wgpu::Adapter);

/// What people are told about an adapter.
#[derive(Clone, Debug, serde::Serialize)]
pub struct AdapterSummary {
    pub name: String,
    pub backend: String,
    pub driver: String,
    /// What else tells adapters and compilers of shaders apart in browsers; not for people.
    #[serde(skip)]
    pub browser: String,
    /// True where the adapter computes on the CPU (lavapipe, SwiftShader).
    pub is_software: bool,
    pub max_buffer_bytes: u64,
    pub max_storage_binding_bytes: u64,
    pub max_workgroup_storage_bytes: u32,
    /// Invocations of a subgroup, least and most; zero where shaders may not use subgroups.
    pub subgroup_sizes: [u32; 2],
    /// Whether shaders may use 16-bit floats.
    pub has_f16: bool,
    /// Rows of the square cooperative matrices of f16, summed in f32, that shaders may multiply; none in browsers.
    #[serde(skip)]
    pub cooperative_sides: Vec<u32>,
    /// Whether the GPU says when a dispatch began and ended.
    pub has_timestamps: bool,
}

/// What is used where an adapter has it; everything works without.
const WELCOME_FEATURES: wgpu::Features =
    wgpu::Features::SUBGROUP.union(wgpu::Features::SHADER_F16).union(wgpu::Features::TIMESTAMP_QUERY);

/// Bytes of workgroup memory that the cooperative tiles take, rounded up; twice WebGPU's default.
const COOPERATIVE_STORAGE: u32 = 32 << 10;

impl Adapter {
    /// Finds the fastest adapter, or fails with code `webgpu-unavailable`.
    pub async fn request() -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        match instance.request_adapter(&options).await {
            Ok(adapter) => Ok(Adapter(adapter)),
            Err(error) => bail!(WebgpuUnavailable, "no GPU adapter: {}", said(&error.to_string())),
        }
    }

    fn device_descriptor(&self) -> wgpu::DeviceDescriptor<'static> {
        let mut descriptor = wgpu::DeviceDescriptor {
            label: Some("tabtune"),
            required_features: self.0.features() & WELCOME_FEATURES,
            required_limits: self.required_limits(),
            ..Default::default()
        };
        if !self.cooperative_sides().is_empty() {
            descriptor.required_features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            descriptor.required_limits.max_compute_workgroup_storage_size = COOPERATIVE_STORAGE;
            // SAFETY: what is experimental in wgpu may have bugs that are unsound. Only the cooperative
            // shaders use it, whose every access lies within its array, and tuning checks what they give.
            descriptor.experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        descriptor
    }

    /// WebGPU's default limits, with bindings as large as the adapter has them: what is smaller is cut more often.
    fn required_limits(&self) -> wgpu::Limits {
        let (default, has) = (wgpu::Limits::default(), self.0.limits());
        let binding = has.max_storage_buffer_binding_size.min(has.max_buffer_size).min(LARGEST_BINDING);
        wgpu::Limits {
            max_storage_buffer_binding_size: binding.max(default.max_storage_buffer_binding_size),
            max_buffer_size: binding.max(default.max_buffer_size),
            ..default
        }
    }

    /// See [`AdapterSummary::cooperative_sides`].
    fn cooperative_sides(&self) -> Vec<u32> {
        use wgpu::CooperativeScalarType::{F16, F32};
        let has_room = self.0.limits().max_compute_workgroup_storage_size >= COOPERATIVE_STORAGE;
        let properties = if has_room { self.0.cooperative_matrix_properties() } else { Vec::new() };
        let squares = properties.into_iter().filter(|it| {
            (it.ab_type, it.cr_type) == (F16, F32) && it.m_size == it.n_size && it.n_size == it.k_size
        });
        squares.map(|it| it.m_size).collect()
    }

    pub fn summary(&self) -> AdapterSummary {
        let (info, limits, features) = (self.0.get_info(), self.0.limits(), self.0.features());
        let has_subgroups = features.contains(wgpu::Features::SUBGROUP);
        AdapterSummary {
            name: info.name,
            backend: info.backend.to_string(),
            driver: info.driver_info,
            browser: String::new(),
            is_software: info.device_type == wgpu::DeviceType::Cpu,
            max_buffer_bytes: limits.max_buffer_size,
            max_storage_binding_bytes: limits.max_storage_buffer_binding_size,
            max_workgroup_storage_bytes: limits.max_compute_workgroup_storage_size,
            subgroup_sizes: if has_subgroups {
                [info.subgroup_min_size, info.subgroup_max_size]
            } else {
                [0, 0]
            },
            has_f16: features.contains(wgpu::Features::SHADER_F16),
            has_timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            cooperative_sides: self.cooperative_sides(),
        }
    }
}

/// An open device with its queue, pipelines and counters. Cloning shares them.
#[derive(Clone)]
pub struct Gpu(Rc<Inner>);

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    summary: AdapterSummary,
    counters: Counters,
    pipelines: RefCell<HashMap<String, Rc<Pipeline>>>,
    /// Shaders besides those of [`kernels`].
    more_shaders: RefCell<HashMap<String, Cow<'static, str>>>,
    /// The first thing that went wrong out of band: a lost device or an uncaptured error.
    fault: Arc<Mutex<Option<Error>>>,
    /// Operations a submit may hold, so that it stays well under 100 ms; learnt from past submits.
    flops_per_submit: Cell<u64>,
}

pub(super) struct Pipeline {
    pub(super) shader: String,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

impl Gpu {
    /// Opens a device with WebGPU's default limits, and larger bindings where the adapter has them.
    pub async fn open(adapter: &Adapter) -> Result<Self> {
        let descriptor = adapter.device_descriptor();
        #[cfg(not(target_arch = "wasm32"))]
        let request = adapter.0.request_device(&descriptor);
        #[cfg(target_arch = "wasm32")]
        let request = super::browser::with_own_answer(None, || adapter.0.request_device(&descriptor));
        Gpu::opened(adapter, request.await, true)
    }

    /// Works on a `GPUDevice` of the page, which stays the page's: it is not destroyed, and errors that
    /// nobody catches go where the page wants them.
    #[cfg(target_arch = "wasm32")]
    pub async fn on_device(adapter: &Adapter, device: wasm_bindgen::JsValue) -> Result<Self> {
        let descriptor = adapter.device_descriptor();
        let request = super::browser::with_own_answer(Some(device), || adapter.0.request_device(&descriptor));
        Gpu::opened(adapter, request.await, false)
    }

    fn opened(
        adapter: &Adapter,
        answer: std::result::Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError>,
        hears_errors: bool,
    ) -> Result<Self> {
        let (device, queue) = match answer {
            Ok(opened) => opened,
            Err(error) => {
                bail!(WebgpuUnavailable, "the adapter refused a device: {}", said(&error.to_string()))
            }
        };

        let fault = Arc::new(Mutex::new(None));
        let lost = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                note(&lost, Error::new(Code::DeviceLost, format!("the GPU device was lost: {message}")));
            }
        });
        if hears_errors {
            let uncaptured = fault.clone();
            device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
                let code = match error {
                    wgpu::Error::OutOfMemory { .. } => Code::OutOfMemory,
                    _ => Code::Internal,
                };
                note(&uncaptured, Error::new(code, error));
            }));
        }

        let mut summary = adapter.summary();
        summary.has_f16 &= device.features().contains(wgpu::Features::SHADER_F16);
        summary.has_timestamps &= device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        #[cfg(target_arch = "wasm32")]
        {
            summary.browser = super::browser::identity(&device);
            if super::browser::device_has_subgroups(&device) {
                let info = adapter.0.get_info();
                summary.subgroup_sizes = [info.subgroup_min_size, info.subgroup_max_size];
            }
        }
        let flops_per_submit = if summary.is_software { 100_000_000 } else { 20_000_000_000 };
        Ok(Gpu(Rc::new(Inner {
            device,
            queue,
            summary,
            counters: Counters::default(),
            pipelines: RefCell::default(),
            more_shaders: RefCell::default(),
            fault,
            flops_per_submit: Cell::new(flops_per_submit),
        })))
    }

    pub fn summary(&self) -> &AdapterSummary {
        &self.0.summary
    }

    /// The most bytes of one binding.
    pub fn max_binding(&self) -> u64 {
        let limits = self.0.device.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size).min(LARGEST_BINDING)
    }

    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Bytes that wgpu's allocator has taken of the driver, where it tells: what its blocks hold, in use or not.
    pub fn reserved_bytes(&self) -> Option<u64> {
        self.0.device.generate_allocator_report().map(|report| report.total_reserved_bytes)
    }

    /// Makes the WGSL `text` known as shader `name`, for measurements of what no kernel does.
    pub fn add_shader(&self, name: &str, text: impl Into<Cow<'static, str>>) {
        self.0.more_shaders.borrow_mut().insert(name.to_owned(), text.into());
    }

    /// Fails when the device was lost, or reported an error since this was asked last.
    pub fn check(&self) -> Result<()> {
        let mut fault = self.0.fault.lock().expect("the fault is never held across a panic");
        match &*fault {
            Some(lost) if lost.code == Code::DeviceLost => Err(lost.clone()),
            _ => fault.take().map_or(Ok(()), Err),
        }
    }

    /// Does `work`, which allocates. Where that asks for more than there is, it fails with `out-of-memory`, and
    /// the device is none the worse for it.
    ///
    /// A device has one stack of error scopes, which a page that lends its own shares. So `work` cannot wait: no
    /// scope of the page can come between those that are pushed and popped here.
    pub async fn allocating<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        // Whatever is made on a buffer that is not there is invalid, which says nothing new.
        let invalid = self.0.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let missing = self.0.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let made = work();
        let (missing, invalid) = (missing.pop(), invalid.pop());
        let (missing, invalid) = (missing.await, invalid.await);
        if missing.is_some() {
            bail!(OutOfMemory, "the GPU has no more memory");
        }
        let made = made?;
        match invalid {
            Some(error) => Err(Error::new(Code::Internal, error)),
            None => Ok(made),
        }
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    pub(super) fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    pub(super) fn flops_per_submit(&self) -> u64 {
        self.0.flops_per_submit.get()
    }

    /// Learns the length of submits from a run of `flops` that took `seconds` in all.
    pub fn learn_speed(&self, flops: u64, seconds: f64) {
        const TARGET_SECONDS: f64 = 0.03;
        if seconds > 0.0 && flops > 0 {
            let target = flops as f64 / seconds * TARGET_SECONDS;
            // When a step ended is seen late or early, so no single one counts much.
            let now = self.flops_per_submit() as f64;
            self.0.flops_per_submit.set(target.clamp(now / 2.0, now * 1.5).clamp(1e7, 1e12) as u64);
        }
    }

    /// Waits until the GPU has done all that was submitted.
    pub async fn idle(&self) {
        let (sender, done) = futures_channel::oneshot::channel();
        self.0.queue.on_submitted_work_done(move || {
            // The receiver is gone only where nobody waits any more.
            let _ = sender.send(());
        });
        // A poll that fails is a lost device, which the next check reports.
        let _ = self.0.device.poll(wgpu::PollType::wait_indefinitely());
        let _ = done.await;
    }

    pub(super) fn submit(&self, encoder: wgpu::CommandEncoder) -> wgpu::SubmissionIndex {
        self.0.counters.submitted();
        self.0.queue.submit([encoder.finish()])
    }

    /// The pipeline of `shader` for bindings that are `writable` or not, compiled at first use.
    pub(super) fn pipeline(&self, shader: &str, writable: &[bool]) -> Rc<Pipeline> {
        if let Some(pipeline) = self.0.pipelines.borrow().get(shader) {
            return pipeline.clone();
        }
        let pipeline = Rc::new(self.compile(shader, writable));
        self.0.pipelines.borrow_mut().insert(shader.to_owned(), pipeline.clone());
        pipeline
    }

    fn compile(&self, shader: &str, writable: &[bool]) -> Pipeline {
        let more = self.0.more_shaders.borrow();
        let text = more.get(shader).cloned().or_else(|| kernels::shaders::text(shader).map(Cow::Owned));
        let text = text.unwrap_or_else(|| panic!("no shader is named {shader}"));
        let device = &self.0.device;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(shader),
            source: wgpu::ShaderSource::Wgsl(if cfg!(target_arch = "wasm32") {
                Cow::Owned(kernels::for_browsers(&text).into_owned())
            } else {
                text
            }),
        });
        let entry = |binding: usize, ty: wgpu::BufferBindingType, has_dynamic_offset: bool| {
            wgpu::BindGroupLayoutEntry {
                binding: binding as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
                count: None,
            }
        };
        let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform, true)];
        entries.extend(writable.iter().enumerate().map(|(index, &writable)| {
            entry(index + 1, wgpu::BufferBindingType::Storage { read_only: !writable }, false)
        }));
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(shader),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(shader),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(shader),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        self.0.counters.pipeline_made();
        Pipeline { shader: shader.to_owned(), pipeline, layout }
    }
}

fn note(fault: &Mutex<Option<Error>>, error: Error) {
    fault.lock().expect("the fault is never held across a panic").get_or_insert(error);
}

/// What a browser said, without what wgpu's debug form puts around it: `JsValue(Name: words`, then a stack
/// that often says the same once more, then `)`.
fn said(error: &str) -> &str {
    match error.split_once("JsValue(") {
        Some((_, thrown)) => thrown.lines().next().unwrap_or(thrown).trim_end_matches(')'),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_browser_said_has_no_stack() {
        let debug = "JsValue(OperationError: It is gone.\nOperationError: It is gone.\n    at wasm:1:2)";
        assert_eq!(super::said(debug), "OperationError: It is gone.");
        assert_eq!(super::said("JsValue(TypeError: No.)"), "TypeError: No.");
        assert_eq!(super::said("no suitable adapter"), "no suitable adapter");
    }
}
