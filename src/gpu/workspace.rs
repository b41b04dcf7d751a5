//! A recording made real: buffers, bind groups and parameters, all made once, then replayed.

use std::collections::HashMap;
use std::rc::Rc;

use super::device::{Gpu, Pipeline};
use super::plan::MemoryPlan;
use super::recorder::{ALIGNMENT, Op, Place, ProgramId, Recorder, Tensor};
use super::store::{Buffer, Store, TENSOR_USAGE};
use crate::error::{Code, Error, Result};

/// Programs ready to run on one device.
///
/// A workspace is made from several recordings of the same operations, one for each size that a
/// step may have (largest first). They share buffers and bind groups, and differ in parameters and
/// workgroup counts.
pub struct Workspace {
    gpu: Gpu,
    programs: Vec<Vec<Step>>,
    /// Keeps the slots alive; the bind groups refer to them.
    _slots: Vec<Buffer>,
    plan: MemoryPlan,
}

enum Step {
    Dispatch {
        pipeline: Rc<Pipeline>,
        bind_group: wgpu::BindGroup,
        /// One for each size.
        calls: Vec<Call>,
    },
    Clear {
        buffer: wgpu::Buffer,
        offset: u64,
        size: u64,
    },
    Copy {
        from: (wgpu::Buffer, u64),
        to: (wgpu::Buffer, u64),
        size: u64,
    },
}

impl Step {
    fn flops(&self, size: usize) -> u64 {
        match self {
            Step::Dispatch { calls, .. } => calls[size].flops,
            Step::Clear { .. } | Step::Copy { .. } => 0,
        }
    }
}

#[derive(Clone, Copy)]
struct Call {
    params_offset: u32,
    workgroups: [u32; 3],
    flops: u64,
}

/// Parameters of equal content share one place in the uniform buffer.
#[derive(Default)]
struct Params {
    bytes: Vec<u8>,
    offsets: HashMap<Vec<u8>, u32>,
}

impl Params {
    fn place(&mut self, params: &[u8]) -> u32 {
        if let Some(&offset) = self.offsets.get(params) {
            return offset;
        }
        let offset = self.bytes.len() as u32;
        self.bytes.extend_from_slice(params);
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
        self.offsets.insert(params.to_vec(), offset);
        offset
    }
}

/// Parameters are bound as this many bytes; no kernel has more.
const PARAMS_BYTES: u64 = ALIGNMENT;

impl Workspace {
    /// Makes all that `recordings` need. They hold the same operations on the same tensors; the
    /// first is the largest and decides the memory.
    pub async fn new(gpu: &Gpu, store: &Store, recordings: &[Recorder]) -> Result<Self> {
        let scope = gpu.device().push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let largest = recordings.first().expect("a workspace has a recording");
        let plan = MemoryPlan::new(largest);
        let limit = wgpu::Limits::default().max_storage_buffer_binding_size;
        if let Some(size) = plan.slots.iter().find(|&&size| size > limit) {
            let message = format!(
                "a working tensor of the step takes {size} bytes, and one buffer holds {limit}: \
                 lower max_length or per_device_train_batch_size"
            );
            return Err(Error::new(Code::OutOfMemory, message));
        }
        let slots: Vec<Buffer> =
            plan.slots.iter().map(|&size| Buffer::new(gpu, "slot", size, TENSOR_USAGE)).collect();

        let mut params = Params::default();
        let calls = recordings.iter().map(|recording| calls(recording, &mut params)).collect::<Vec<_>>();
        let uniform = Buffer::new(
            gpu,
            "params",
            (params.bytes.len() as u64).max(PARAMS_BYTES),
            wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        );
        gpu.queue().write_buffer(&uniform.raw, 0, &params.bytes);

        let place = |tensor: Tensor| match tensor.place {
            Place::Kept(_) => store.buffer(tensor),
            Place::Transient(index) => {
                &slots[plan.slot_of[index as usize].expect("a tensor in use has a slot")].raw
            }
        };
        let mut groups: HashMap<(String, Vec<Tensor>), wgpu::BindGroup> = HashMap::new();
        let mut programs = Vec::new();
        let mut index = 0;
        for program in &largest.programs {
            let mut steps = Vec::new();
            for op in &program.ops {
                steps.push(match op {
                    Op::Dispatch { shader, bindings, .. } => {
                        let writable: Vec<bool> = bindings.iter().map(|binding| binding.writable).collect();
                        let pipeline = gpu.pipeline(shader, &writable);
                        let bind_group = groups
                            .entry((shader.clone(), op.tensors()))
                            .or_insert_with(|| {
                                gpu.counters().bind_group_made();
                                bind(gpu, shader, &pipeline, &uniform.raw, &op.tensors(), place)
                            })
                            .clone();
                        Step::Dispatch {
                            pipeline,
                            bind_group,
                            calls: calls.iter().map(|of_size| of_size[index]).collect(),
                        }
                    }
                    Op::Clear(tensor) => Step::Clear {
                        buffer: place(*tensor).clone(),
                        offset: tensor.offset,
                        size: tensor.size.next_multiple_of(4),
                    },
                    Op::Copy { from, to } => Step::Copy {
                        from: (place(*from).clone(), from.offset),
                        to: (place(*to).clone(), to.offset),
                        size: from.size,
                    },
                });
                index += 1;
            }
            programs.push(steps);
        }

        if let Some(error) = scope.pop().await {
            let message = format!("the step needs {} bytes of working memory: {error}", plan.bytes());
            return Err(Error::new(Code::OutOfMemory, message));
        }
        let mut kept = slots;
        kept.push(uniform);
        Ok(Workspace { gpu: gpu.clone(), programs, _slots: kept, plan })
    }

    pub fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Runs `programs` in order at `size` (an index into the recordings), in as many submits as
    /// keep each well under 100 ms. Returns the floating-point operations of the run.
    pub fn run(&self, programs: &[ProgramId], size: usize) -> u64 {
        let budget = self.gpu.flops_per_submit();
        let (mut total, mut in_submit) = (0, 0);
        let mut encoder = self.encoder();
        let mut pass = None;
        for step in programs.iter().flat_map(|program| &self.programs[program.0]) {
            let flops = step.flops(size);
            if in_submit > 0 && in_submit + flops > budget {
                pass = None;
                self.gpu.submit(std::mem::replace(&mut encoder, self.encoder()));
                in_submit = 0;
            }
            self.encode(&mut encoder, &mut pass, step, size);
            in_submit += flops;
            total += flops;
        }
        drop(pass);
        self.gpu.submit(encoder);
        total
    }

    /// Encodes one operation. Dispatches in a row share a pass, which stays open in `pass`.
    fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        pass: &mut Option<wgpu::ComputePass<'static>>,
        step: &Step,
        size: usize,
    ) {
        match step {
            Step::Dispatch { pipeline, bind_group, calls } => {
                let Call { params_offset, workgroups: [x, y, z], .. } = calls[size];
                let pass = pass.get_or_insert_with(|| {
                    encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime()
                });
                pass.set_pipeline(&pipeline.pipeline);
                pass.set_bind_group(0, bind_group, &[params_offset]);
                pass.dispatch_workgroups(x, y, z);
                self.gpu.counters().dispatched();
            }
            Step::Clear { buffer, offset, size } => {
                *pass = None;
                encoder.clear_buffer(buffer, *offset, Some(*size));
            }
            Step::Copy { from, to, size } => {
                *pass = None;
                encoder.copy_buffer_to_buffer(&from.0, from.1, &to.0, to.1, *size);
            }
        }
    }

    /// Runs `programs` one operation at a time and returns the seconds that each dispatch took with
    /// its shader and floating-point operations. Each time includes one wait for the GPU.
    pub async fn profile(&self, programs: &[ProgramId], size: usize) -> Vec<(&str, f64, u64)> {
        let mut times = Vec::new();
        for step in programs.iter().flat_map(|program| &self.programs[program.0]) {
            let mut encoder = self.encoder();
            self.encode(&mut encoder, &mut None, step, size);
            let began = web_time::Instant::now();
            self.gpu.submit(encoder);
            self.gpu.idle().await;
            if let Step::Dispatch { pipeline, calls, .. } = step {
                times.push((pipeline.shader.as_str(), began.elapsed().as_secs_f64(), calls[size].flops));
            }
        }
        times
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }
}

fn calls(recording: &Recorder, params: &mut Params) -> Vec<Call> {
    let ops = recording.programs.iter().flat_map(|program| &program.ops);
    ops.map(|op| match op {
        Op::Dispatch { params: bytes, workgroups, flops, .. } => {
            Call { params_offset: params.place(bytes), workgroups: *workgroups, flops: *flops }
        }
        Op::Clear(_) | Op::Copy { .. } => Call { params_offset: 0, workgroups: [0; 3], flops: 0 },
    })
    .collect()
}

fn bind<'a>(
    gpu: &Gpu,
    shader: &str,
    pipeline: &Pipeline,
    uniform: &wgpu::Buffer,
    tensors: &[Tensor],
    place: impl Fn(Tensor) -> &'a wgpu::Buffer,
) -> wgpu::BindGroup {
    let size = |bytes: u64| std::num::NonZeroU64::new(bytes);
    let mut entries = vec![wgpu::BindGroupEntry {
        binding: 0,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: uniform,
            offset: 0,
            size: size(PARAMS_BYTES),
        }),
    }];
    entries.extend(tensors.iter().enumerate().map(|(index, &tensor)| wgpu::BindGroupEntry {
        binding: index as u32 + 1,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: place(tensor),
            offset: tensor.offset,
            size: size(tensor.size),
        }),
    }));
    gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(shader),
        layout: &pipeline.layout,
        entries: &entries,
    })
}
