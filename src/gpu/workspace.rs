//! Dispatches made real: buffers, bind groups and parameters, all made once, then replayed.

use std::collections::HashMap;
use std::rc::Rc;

use super::buffer::Buffer;
use super::device::{Gpu, Pipeline};
use super::dispatches::{Dispatch, Dispatches, Op, Piece};
use super::readback::Staging;
use crate::error::Result;
use crate::memory::{ALIGNMENT, MemoryPlan, Place, ProgramId, Tensor, distinct_bytes};

/// Programs ready to run on one GPU.
///
/// The sizes that a step may have (largest first) share buffers and bind groups, and differ in parameters
/// and workgroup counts.
pub(crate) struct Workspace {
    gpu: Gpu,
    programs: Vec<Vec<Step>>,
    /// Keeps slots and parameters alive; the bind groups refer to them.
    _buffers: Vec<Buffer>,
}

enum Step {
    Dispatch {
        pipeline: Rc<Pipeline>,
        bind_group: wgpu::BindGroup,
        /// Of all the tensors that are bound, each once.
        bytes: u64,
        /// Those of each size.
        calls: Rc<[Vec<Call>]>,
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
    /// The dispatches of a size; none of what is no dispatch.
    fn calls(&self, size: usize) -> &[Call] {
        match self {
            Step::Dispatch { calls, .. } => &calls[size],
            Step::Clear { .. } | Step::Copy { .. } => &[],
        }
    }

    fn flops(&self, size: usize) -> u64 {
        self.calls(size).iter().map(|call| call.flops).sum()
    }
}

#[derive(Clone, Copy)]
struct Call {
    params_offset: u32,
    workgroups: [u32; 3],
    /// See [`Piece`].
    flops: u64,
    by_spans: bool,
}

impl Call {
    /// Floating-point operations where spans let the share `seen` through.
    fn flops(&self, seen: f64) -> u64 {
        if self.by_spans { (self.flops as f64 * seen) as u64 } else { self.flops }
    }
}

/// Parameters of equal content share one place in the uniform buffer.
#[derive(Default)]
struct Params {
    bytes: Vec<u8>,
    offsets: HashMap<Vec<u8>, u32>,
}

impl Params {
    /// Those of all dispatches, and the calls that use them, of each dispatch by size.
    fn of(dispatches: &Dispatches) -> (Self, Vec<Rc<[Vec<Call>]>>) {
        let mut params = Params::default();
        // By where they lie: pieces that several dispatches share are placed once.
        let mut placed: HashMap<*const [Vec<Piece>], Rc<[Vec<Call>]>> = HashMap::new();
        let ops = dispatches.programs.iter().flatten();
        let calls = ops.filter_map(|op| match op {
            Op::Dispatch(Dispatch { pieces, .. }) => {
                Some(placed.entry(Rc::as_ptr(pieces)).or_insert_with(|| params.calls(pieces)).clone())
            }
            Op::Clear(_) | Op::Copy { .. } => None,
        });
        let calls = calls.collect();
        (params, calls)
    }

    /// What a dispatch of `pieces` is in each size.
    fn calls(&mut self, pieces: &[Vec<Piece>]) -> Rc<[Vec<Call>]> {
        let mut call = |&Piece { ref params, workgroups, flops, by_spans }: &Piece| Call {
            params_offset: self.place(params),
            workgroups,
            flops,
            by_spans,
        };
        pieces.iter().map(|pieces| pieces.iter().map(&mut call).collect()).collect()
    }

    /// Bytes of the buffer that holds them.
    fn size(&self) -> u64 {
        (self.bytes.len() as u64).max(PARAMS_BYTES)
    }

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
/// Operations that are stamped at once: a query set holds two stamps for each.
const STAMPED: usize = 2048;

impl Workspace {
    /// Makes all that `dispatches` need, which is work for [`Gpu::allocating`]. `plan` places their transient tensors,
    /// and `kept` finds the buffers of the others.
    pub(crate) fn new<'a>(
        gpu: &Gpu,
        dispatches: &Dispatches,
        plan: &MemoryPlan,
        kept: impl Fn(Tensor) -> &'a Buffer,
    ) -> Self {
        let slots: Vec<Buffer> =
            plan.slots.iter().map(|&size| Buffer::for_tensors(gpu, "slot", size)).collect();

        let (params, calls) = Params::of(dispatches);
        let mut calls = calls.into_iter();
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniform = Buffer::new(gpu, "params", params.size(), usage);
        gpu.queue().write_buffer(&uniform.raw, 0, &params.bytes);

        let place = |tensor: Tensor| match tensor.place {
            Place::Kept(_) => &kept(tensor).raw,
            Place::Transient(index) => {
                &slots[plan.slot_of[index as usize].expect("a tensor in use has a slot")].raw
            }
        };
        let mut groups: HashMap<(String, Vec<Tensor>), wgpu::BindGroup> = HashMap::new();
        let mut programs = Vec::new();
        for program in &dispatches.programs {
            let mut steps = Vec::new();
            for op in program {
                steps.push(match op {
                    Op::Dispatch(dispatch) => {
                        let Dispatch { shader, bindings, .. } = dispatch;
                        let writable: Vec<bool> = bindings.iter().map(|binding| binding.writable).collect();
                        let (pipeline, tensors) = (gpu.pipeline(shader, &writable), dispatch.tensors());
                        let bytes = distinct_bytes(&tensors);
                        let bind_group = groups
                            .entry((shader.clone(), tensors))
                            .or_insert_with_key(|(_, tensors)| {
                                gpu.counters().bind_group_made();
                                bind(gpu, shader, &pipeline, &uniform.raw, tensors, place)
                            })
                            .clone();
                        let calls = calls.next().expect("every dispatch has its calls");
                        Step::Dispatch { pipeline, bind_group, bytes, calls }
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
            }
            programs.push(steps);
        }

        let mut buffers = slots;
        buffers.push(uniform);
        Workspace { gpu: gpu.clone(), programs, _buffers: buffers }
    }

    /// The bytes that the parameters of `dispatches` take beside their tensors.
    pub(crate) fn params_bytes(dispatches: &Dispatches) -> u64 {
        Params::of(dispatches).0.size()
    }

    /// Runs `programs` in order at `size` (an index into the sizes of the step) where the spans let the share `seen`
    /// of the recorded pairs of rows and keys through, in as many submits as keep each well under 100 ms. Returns the
    /// floating-point operations of the run.
    pub(crate) fn run(&self, programs: &[ProgramId], size: usize, seen: f64) -> u64 {
        let budget = self.gpu.flops_per_submit();
        let (mut total, mut in_submit) = (0, 0);
        let mut encoder = self.encoder();
        let mut pass = None;
        for step in programs.iter().flat_map(|program| &self.programs[program.0]) {
            let mut calls = step.calls(size);
            if calls.is_empty() {
                self.encode(&mut encoder, &mut pass, step, &[]);
            }
            while let Some((first, rest)) = calls.split_first() {
                let mut call = *first;
                let mut flops = call.flops(seen);
                if in_submit > 0 && in_submit + flops > budget {
                    pass = None;
                    self.gpu.submit(std::mem::replace(&mut encoder, self.encoder()));
                    in_submit = 0;
                }
                calls = rest;
                // Pieces that fit this submit are one dispatch, which fills a GPU best.
                while let Some((next, rest)) = calls.split_first()
                    && in_submit + flops + next.flops(seen) <= budget
                {
                    call.workgroups[0] += next.workgroups[0];
                    flops += next.flops(seen);
                    calls = rest;
                }
                self.encode(&mut encoder, &mut pass, step, &[call]);
                in_submit += flops;
                total += flops;
            }
        }
        drop(pass);
        self.gpu.submit(encoder);
        total
    }

    /// Encodes one operation, or some `calls` of it. Dispatches in a row share a pass, which stays open in `pass`.
    fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        pass: &mut Option<wgpu::ComputePass<'static>>,
        step: &Step,
        calls: &[Call],
    ) {
        match step {
            Step::Dispatch { pipeline, bind_group, bytes, .. } => {
                let pass = pass.get_or_insert_with(|| {
                    encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime()
                });
                pass.set_pipeline(&pipeline.pipeline);
                for Call { params_offset, workgroups: [x, y, z], .. } in calls {
                    pass.set_bind_group(0, bind_group, &[*params_offset]);
                    pass.dispatch_workgroups(*x, *y, *z);
                    self.gpu.counters().dispatched(*bytes);
                }
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

    /// Runs `programs` once and returns for each dispatch its shader, its seconds, and its
    /// floating-point operations. An answer without dispatches means that the device was lost, of
    /// which [`Gpu::check`] says more.
    ///
    /// Where the adapter has timestamps, a dispatch is a pass of its own with a stamp at either end.
    /// `bench/tests/timing.rs` holds the stamps to the wall clock: on lavapipe the medians are within a
    /// few percent for runs of 20 ms. Browsers round stamps to 100 µs, so there only sums over many
    /// dispatches mean something. Without timestamps each time includes one wait for the GPU.
    pub(crate) async fn profile(&self, programs: &[ProgramId], size: usize) -> Vec<(&str, f64, u64)> {
        let steps: Vec<&Step> = programs.iter().flat_map(|program| &self.programs[program.0]).collect();
        let mut times = Vec::new();
        if self.gpu.summary().has_timestamps {
            for steps in steps.chunks(STAMPED) {
                match self.stamped(steps, size, false).await {
                    Ok(seconds) => times.extend(seconds),
                    Err(_) => return Vec::new(),
                }
            }
        } else {
            for step in &steps {
                let mut encoder = self.encoder();
                self.encode(&mut encoder, &mut None, step, step.calls(size));
                let began = web_time::Instant::now();
                self.gpu.submit(encoder);
                self.gpu.idle().await;
                times.push(began.elapsed().as_secs_f64());
            }
        }
        let timed = steps.into_iter().zip(times);
        timed
            .filter_map(|(step, seconds)| match step {
                Step::Dispatch { pipeline, .. } => {
                    Some((pipeline.shader.as_str(), seconds, step.flops(size)))
                }
                Step::Clear { .. } | Step::Copy { .. } => None,
            })
            .collect()
    }

    /// The seconds by the GPU's own clock for which it works on `programs`, in the submits and passes that
    /// [`Workspace::run`] makes of them: what a step takes beyond that, the GPU waited. `None` without
    /// timestamps. Copies between passes do not count.
    pub(crate) async fn busy_seconds(&self, programs: &[ProgramId], size: usize) -> Result<Option<f64>> {
        if !self.gpu.summary().has_timestamps {
            return Ok(None);
        }
        let steps: Vec<&Step> = programs.iter().flat_map(|program| &self.programs[program.0]).collect();
        let mut seconds = 0.0;
        for steps in steps.chunks(STAMPED) {
            seconds += self.stamped(steps, size, true).await?.iter().sum::<f64>();
        }
        Ok(Some(seconds))
    }

    /// The seconds of each pass by the GPU's own clock. Dispatches in a row share a pass where `is_shared`;
    /// otherwise each of `steps` has one, which takes no time for what is no dispatch.
    async fn stamped(&self, steps: &[&Step], size: usize, is_shared: bool) -> Result<Vec<f64>> {
        let device = self.gpu.device();
        let most = 2 * steps.len() as u32;
        let bytes = 8 * u64::from(most);
        let stamps = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("profile"),
            ty: wgpu::QueryType::Timestamp,
            count: most,
        });
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = Buffer::new(&self.gpu, "stamps", bytes, usage);
        let read = Buffer::for_tensors(&self.gpu, "stamps", bytes);

        let budget = self.gpu.flops_per_submit();
        let mut encoder = self.encoder();
        let (mut in_submit, mut count) = (0, 0);
        let mut pass = None;
        for step in steps {
            let flops = step.flops(size);
            if in_submit > 0 && in_submit + flops > budget {
                pass = None;
                self.gpu.submit(std::mem::replace(&mut encoder, self.encoder()));
                in_submit = 0;
            }
            in_submit += flops;
            if pass.is_none() {
                let timestamp_writes = wgpu::ComputePassTimestampWrites {
                    query_set: &stamps,
                    beginning_of_pass_write_index: Some(count),
                    end_of_pass_write_index: Some(count + 1),
                };
                count += 2;
                let descriptor =
                    wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(timestamp_writes) };
                pass = Some(encoder.begin_compute_pass(&descriptor).forget_lifetime());
            }
            // What is no dispatch ends the pass, which is then stamped like any other.
            self.encode(&mut encoder, &mut pass, step, step.calls(size));
            if !is_shared {
                pass = None;
            }
        }
        drop(pass);
        // A stamp that was never written must not be waited for.
        encoder.resolve_query_set(&stamps, 0..count, &resolved.raw, 0);
        encoder.copy_buffer_to_buffer(&resolved.raw, 0, &read.raw, 0, 8 * u64::from(count));
        self.gpu.submit(encoder);
        let mut staging = Staging::new(&self.gpu, bytes, 1);
        let readback = staging.start(&read, 0, bytes);
        let (ticks, _) = staging.finish::<u64>(readback).await?;
        let period = f64::from(self.gpu.queue().get_timestamp_period()) * 1e-9;
        let pairs = &ticks.as_chunks().0[..count as usize / 2];
        Ok(pairs.iter().map(|[from, to]| to.saturating_sub(*from) as f64 * period).collect())
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }
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
