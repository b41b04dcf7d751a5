//! Calls made real: memory, operands and parameters, all made once, then run.

use std::collections::HashMap;

use tabtune_cpu::{self as kernels, Operand};

use super::{Buffer, Calls, Cpu};
use crate::error::Result;
use crate::memory::{MemoryPlan, Place, ProgramId, Tensor, distinct_bytes};

/// What vectors want of the addresses of params.
const ALIGNMENT: usize = 16;

/// Programs ready to run on the processor, in each size of a step.
pub(crate) struct Workspace {
    cpu: Cpu,
    /// Where the calls of each program begin, in each size, and how many there are.
    lists: Vec<Vec<(u64, usize)>>,
    /// The kernel of each call of each program.
    names: Vec<Vec<String>>,
    /// The bytes of the tensors of each call of each program, each tensor once.
    bytes: Vec<Vec<u64>>,
    /// Keeps slots, operands, params and calls alive.
    _buffers: Vec<Buffer>,
}

// Operands and calls are laid out as words of an address: numbers of 32 bits have their padding behind them.
const _: () = assert!(size_of::<Operand>() == 2 * size_of::<usize>() && cfg!(target_endian = "little"));
const _: () = assert!(size_of::<kernels::Call>() == 4 * size_of::<usize>());

/// Where operands, params and calls lie in the one buffer that holds them.
struct Layout {
    params: Vec<u8>,
    /// Of each call of all programs in order: where its params lie in each size.
    places: Vec<Vec<usize>>,
    operands: usize,
    calls: usize,
}

impl Layout {
    fn of(calls: &Calls) -> Self {
        let mut params = Vec::new();
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        let mut place = |bytes| {
            *known.entry(bytes).or_insert_with(|| {
                let at = params.len();
                params.extend_from_slice(bytes);
                params.resize(params.len().next_multiple_of(ALIGNMENT), 0);
                at
            })
        };
        let all = || calls.programs.iter().flatten();
        let places = all().map(|call| call.params.iter().map(|bytes| place(bytes)).collect()).collect();
        let operands = all().map(|call| call.bindings.len()).sum();
        Layout { params, places, operands, calls: all().count() * calls.sizes }
    }

    fn bytes(&self) -> u64 {
        let [operands, calls] =
            [size_of::<Operand>() * self.operands, size_of::<kernels::Call>() * self.calls];
        ((self.params.len() + operands).next_multiple_of(ALIGNMENT) + calls) as u64
    }
}

impl Workspace {
    /// Makes all that `calls` need. `plan` places their transient tensors, and `kept` finds the buffers of the others.
    ///
    /// # Errors
    ///
    /// `out-of-memory` where the machine has no more.
    pub(crate) fn new<'a>(
        cpu: &Cpu,
        calls: &Calls,
        plan: &MemoryPlan,
        kept: impl Fn(Tensor) -> &'a Buffer,
    ) -> Result<Self> {
        let slots: Vec<Buffer> =
            plan.slots.iter().map(|&size| Buffer::new(cpu, size)).collect::<Result<_>>()?;
        let operand = |tensor: Tensor| {
            let buffer = match tensor.place {
                Place::Kept(_) => kept(tensor),
                Place::Transient(index) => {
                    &slots[plan.slot_of[index as usize].expect("a tensor in use has a slot")]
                }
            };
            [buffer.address + tensor.offset, tensor.size].map(|word| word as usize)
        };

        let layout = Layout::of(calls);
        let whole = Buffer::new(cpu, layout.bytes())?;
        let operands_at = layout.params.len();
        let calls_at = (operands_at + size_of::<Operand>() * layout.operands).next_multiple_of(ALIGNMENT);
        let address = |offset: usize| whole.address + offset as u64;
        let (mut operands, mut made, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        for size in 0..calls.sizes {
            let (mut places, mut first_operand) = (layout.places.iter(), 0);
            let mut of_size = Vec::new();
            for program in &calls.programs {
                of_size.push((address(calls_at + size_of::<usize>() * made.len()), program.len()));
                for call in program {
                    let places = places.next().expect("every call has its params");
                    if size == 0 {
                        operands.extend(call.bindings.iter().flat_map(|binding| operand(binding.tensor)));
                    }
                    let operands = address(operands_at + size_of::<Operand>() * first_operand);
                    first_operand += call.bindings.len();
                    let kernel = kernels::index(&call.kernel);
                    let kernel = kernel.unwrap_or_else(|| panic!("the processor has no {}", call.kernel));
                    let params = address(places[size]) as usize;
                    made.extend([kernel as usize, params, operands as usize, call.bindings.len()]);
                }
            }
            lists.push(of_size);
        }
        whole.write(0, &layout.params);
        whole.write(operands_at as u64, bytemuck::cast_slice(&operands));
        whole.write(calls_at as u64, bytemuck::cast_slice(&made));

        let names =
            calls.programs.iter().map(|program| program.iter().map(|call| call.kernel.clone()).collect());
        let bytes = calls
            .programs
            .iter()
            .map(|program| program.iter().map(|call| distinct_bytes(&call.tensors())).collect());
        let (names, bytes) = (names.collect(), bytes.collect());
        let mut buffers = slots;
        buffers.push(whole);
        Ok(Workspace { cpu: cpu.clone(), lists, names, bytes, _buffers: buffers })
    }

    /// The bytes that operands, parameters and calls take beside the tensors.
    pub(crate) fn params_bytes(calls: &Calls) -> u64 {
        Layout::of(calls).bytes()
    }

    /// Starts `programs` in order at `size`, an index into the sizes of the step.
    pub(crate) fn run(&self, programs: &[ProgramId], size: usize) {
        for &ProgramId(program) in programs {
            let (list, count) = self.lists[size][program];
            if count > 0 {
                self.cpu.machine().start(list, count);
                self.bytes[program].iter().for_each(|&bytes| self.cpu.counters().dispatched(bytes));
            }
        }
        self.cpu.counters().submitted();
    }

    /// Runs `programs` once, call by call, and returns for each its kernel and its seconds.
    pub(crate) async fn profile(&self, programs: &[ProgramId], size: usize) -> Vec<(&str, f64)> {
        let mut times = Vec::new();
        // What was started before is no part of the first call.
        if self.cpu.idle().await.is_err() {
            return times;
        }
        for &ProgramId(program) in programs {
            let (list, count) = self.lists[size][program];
            for (index, name) in self.names[program][..count].iter().enumerate() {
                let began = web_time::Instant::now();
                self.cpu.machine().start(list + (size_of::<kernels::Call>() * index) as u64, 1);
                if self.cpu.idle().await.is_err() {
                    return Vec::new();
                }
                times.push((name.as_str(), began.elapsed().as_secs_f64()));
            }
        }
        times
    }
}
