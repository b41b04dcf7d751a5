//! The one place where operands become slices.

use core::marker::PhantomData;
use core::ops::Range;
use core::slice;

use crate::{Call, Operand};

/// The operands of a call, as its kernel sees them.
pub struct Args<'a> {
    call: &'a Call,
}

impl<'a> Args<'a> {
    /// # Safety
    ///
    /// `params` points to the params of the call's kernel, and `operands` to `count` operands that are valid. No task of
    /// another call writes them as long as this lives.
    pub unsafe fn new(call: &'a Call) -> Self {
        Args { call }
    }

    /// The kernel's params: `P` is the kernel's own type.
    pub fn params<P: Copy>(&self) -> P {
        // SAFETY: Whoever made the call laid the kernel's params there, and they are plain numbers.
        unsafe { self.call.params.cast::<P>().read() }
    }

    fn operand(&self, index: usize) -> Operand {
        assert!(index < self.call.count as usize);
        // SAFETY: There are `count` operands.
        unsafe { *self.call.operands.add(index) }
    }

    /// Operand `index`, which the kernel does not write.
    pub fn input(&self, index: usize) -> &'a [f32] {
        let operand = self.operand(index);
        // SAFETY: The operand is valid, f32 takes all bits, and a kernel that calls this does not write the operand.
        unsafe { slice::from_raw_parts(operand.start.cast(), operand.bytes / 4) }
    }

    /// Operand `index` as words, which the kernel does not write.
    pub fn words(&self, index: usize) -> &'a [u32] {
        let operand = self.operand(index);
        // SAFETY: As for `input`.
        unsafe { slice::from_raw_parts(operand.start, operand.bytes / 4) }
    }

    /// Operand `index`, of which each task writes places of its own.
    pub fn output(&self, index: usize) -> Output<'a> {
        let operand = self.operand(index);
        Output { start: operand.start.cast(), len: operand.bytes / 4, lives: PhantomData }
    }
}

/// Values that several tasks write, each in places of its own.
#[derive(Clone, Copy)]
pub struct Output<'a> {
    start: *mut f32,
    len: usize,
    lives: PhantomData<&'a f32>,
}

impl<'a> Output<'a> {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The values in `range`, to be read and written.
    ///
    /// # Safety
    ///
    /// No other slice of these values exists that has some of the range, in this task or another.
    pub unsafe fn slice(&self, range: Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: The range lies within the operand, and the caller promises that nobody else has it.
        unsafe { slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
